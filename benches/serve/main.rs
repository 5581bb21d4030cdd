//! What a call costs, against what it could cost: `cargo bench --bench serve`. The README beside it says what is measured.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench fails by panicking and tells its figures"
)]

mod batch;
mod callers;
mod certificates;
mod connection;
mod contest;
mod crowd;
mod figures;
mod first;
mod h2load;
mod hits;
mod load;
mod machine;
mod million;
mod question;
mod scale;
mod server;
mod settings;
mod side;
mod stock;
mod table;
mod twins;

use std::path::PathBuf;

use clap::Parser;
use cognito_standin::{Pool, StandIn};

use self::{load::Effort, question::Question, table::Row};

/// Measures what a call costs.
#[derive(Parser)]
struct Arguments {
    /// Measures only the questions with one of these in their names.
    questions: Vec<String>,
    /// Only shows that it works: fewer and shorter rounds.
    #[arg(long)]
    quick: bool,
    /// Is the stock server, for the reply in this file.
    #[arg(long, hide = true, value_name = "FILE")]
    stock: Option<PathBuf>,
    /// Where the stock server's certificates are.
    #[arg(long, hide = true, value_name = "FOLDER")]
    certificates: Option<PathBuf>,
    /// What cargo tells every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What all questions are put with.
struct Bench {
    cognito: StandIn,
    effort: Effort,
}

impl Bench {
    /// Asks for the one user that most questions are about.
    fn ada(&self) -> Question {
        Question::by_sub(&self.cognito.user("ada").unwrap().sub)
    }

    /// Returns how often Cognito was asked for a user until now.
    fn lookups(&self) -> usize {
        self.cognito.calls("AdminGetUser") + self.cognito.calls("ListUsers")
    }
}

fn main() {
    let Arguments { questions, quick, stock, certificates, .. } = Arguments::parse();
    if let Some(reply) = stock {
        return stock::serve(&reply, certificates.as_deref());
    }
    let effort = if quick { Effort::QUICK } else { Effort::FULL };
    let machine = machine::described();
    println!("{machine}\n{}", effort.described());
    let bench = Bench { cognito: StandIn::start(Pool::sandbox()).unwrap(), effort };
    let wanted = |name: &str| questions.is_empty() || questions.iter().any(|part| name.contains(part));
    let asked = QUESTIONS.iter().filter(|(name, _)| wanted(name));
    let rows: Vec<Row> = asked.flat_map(|(_, ask)| ask(&bench)).collect();
    assert!(!rows.is_empty(), "no question has such a name");
    table::print(&rows);
    println!("\n{machine}");
}

/// Puts a question, and returns what is to be told of it in the end.
type Ask = fn(&Bench) -> Vec<Row>;

const QUESTIONS: [(&str, Ask); 9] = [
    ("token", hits::by_token),
    ("token-700", hits::by_short_token),
    ("sub", hits::by_sub),
    ("mtls", hits::by_certificate),
    ("first", first::first),
    ("batch", batch::batch),
    ("workers", scale::workers),
    ("idle", scale::idle),
    ("million", million::million),
];
