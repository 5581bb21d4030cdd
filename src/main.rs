//! The `cognito-lookup` command: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    cognito_lookup::cli::run()
}
