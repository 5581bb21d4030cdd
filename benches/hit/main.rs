//! What a `GetUser` that is answered from the cache costs, in time and in instructions. The README beside it says how to
//! ask for either, and what is measured.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench fails by panicking and tells its figures"
)]

mod callgrind;
mod noted;
mod parts;
mod question;
mod steps;

use std::{env, path::Path, process::ExitCode};

use tikv_jemallocator::Jemalloc;

use self::{
    noted::{Counts, Noted},
    parts::Parts,
    question::{Question, warmed},
};

// As in the binary.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    // What cargo tells every bench is of no use here.
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["count"] => return check(),
        ["count", "--renew"] => Noted::read().renew(counted()),
        ["answer", name] => answer(Question::named(name)),
        _ => steps::measure(),
    }
    ExitCode::SUCCESS
}

/// Fails if more instructions are counted than are noted.
fn check() -> ExitCode {
    let (told, has_grown) = Noted::read().against(&counted());
    println!("{told}");
    ExitCode::from(u8::from(has_grown))
}

fn counted() -> Counts {
    let instructions = Question::ALL.map(|question| (question.name().to_owned(), callgrind::count(question)));
    Counts { counted_by: callgrind::tools(), instructions: instructions.into() }
}

/// Is what is counted: answers one question again and again, on a runtime such as each worker has.
fn answer(question: Question) {
    let parts = Parts::start(Path::new("/dev/null"), |_| {});
    let (runtime, request) = (parts::runtime(), question.request(&parts.cognito));
    runtime.block_on(warmed(&parts.dispatcher, &request));
    let _there = runtime.enter();
    for request in vec![request; callgrind::TIMES] {
        assert!(question::answered(&parts.dispatcher, request) > 0, "an answer has no message");
    }
    assert_eq!(parts.cognito.calls("AdminGetUser"), 1, "all but the first came from the cache");
}
