//! The cost of a `GetUser` that hits the cache, in time and in instructions. `benches/README.md`
//! says how to measure either.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench fails by panicking and prints its figures"
)]

mod baseline;
mod call;
mod callgrind;
mod components;
mod steps;

use std::{env, path::Path, process::ExitCode, thread, time::Duration};

use tikv_jemallocator::Jemalloc;

use self::{
    baseline::{Baseline, Counts},
    call::CallKind,
    components::Components,
};

// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    // cargo passes `--bench` to every bench.
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["count"] => return check(),
        ["count", "--renew"] => Baseline::read().renew(counted()),
        ["answer", name] => answer(CallKind::from_name(name)),
        _ => steps::measure(),
    }
    ExitCode::SUCCESS
}

/// Fails if a call takes more instructions than the baseline allows.
fn check() -> ExitCode {
    let (report, has_grown) = Baseline::read().compare(&counted());
    println!("{report}");
    ExitCode::from(u8::from(has_grown))
}

fn counted() -> Counts {
    let instructions = CallKind::ALL.map(|kind| (kind.name().to_owned(), callgrind::count(kind)));
    Counts { counted_by: callgrind::tools(), instructions: instructions.into() }
}

/// The program that callgrind runs: answers one call again and again, on a runtime like that of a
/// worker.
fn answer(kind: CallKind) {
    let components = Components::start(Path::new("/dev/null"), |_| {});
    let (runtime, request) = (components::runtime(), kind.request(&components.cognito));
    runtime.block_on(call::warm_up(&components, &request));
    let _context = runtime.enter();
    for (n, request) in vec![request; callgrind::TIMES].into_iter().enumerate() {
        // valgrind runs one thread at a time. The pause lets the writer empty the buffer of audit records;
        // else it grows within a call, and the count depends on the scheduler.
        if n % 4 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(call::answer(&components, request) > 0, "a response has no message");
    }
    assert_eq!(components.cognito.calls("AdminGetUser"), 1, "all calls but the first hit the cache");
}
