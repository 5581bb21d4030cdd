# clippy on all crates, and on the service without the sandbox; warnings are errors

cargo clippy --locked --workspace --all-targets -- -D warnings
cargo clippy --locked --no-default-features -- -D warnings
