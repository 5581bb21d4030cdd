//! `GetUser` from the cache against a stock tonic server that does nothing: `cargo bench --bench serve`. The README
//! beside it says what is measured.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench fails by panicking and tells its figures"
)]

mod contest;
mod figures;
mod load;
mod machine;
mod question;
mod server;
mod stock;

use std::path::PathBuf;

use clap::Parser;
use cognito_lookup::sandbox::standin::{Pool, StandIn};

use self::{contest::Contest, load::Effort, question::Question};

/// Measures `GetUser`, answered from the cache, against a stock tonic server that does nothing.
#[derive(Parser)]
struct Arguments {
    /// Measures only the questions whose name contains this.
    question: Option<String>,
    /// Only shows that it works: fewer and shorter rounds.
    #[arg(long)]
    quick: bool,
    /// Is the stock server, for the reply in this file.
    #[arg(long, hide = true, value_name = "FILE")]
    stock: Option<PathBuf>,
    /// What cargo tells every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    if let Some(reply) = arguments.stock {
        return stock::serve(&reply);
    }
    let effort = if arguments.quick { Effort::QUICK } else { Effort::FULL };
    println!("{}\n{}", machine::described(), effort.described());
    let cognito = StandIn::start(Pool::sandbox()).unwrap();
    let wanted = arguments.question.unwrap_or_default();
    for question in Question::all(&cognito).into_iter().filter(|question| question.name.contains(&wanted)) {
        println!("{}", Contest::begin(&cognito, question).held(&effort));
    }
}
