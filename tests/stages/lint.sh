# clippy on all crates, on the service without the sandbox, and on its fuzz targets; warnings are errors

cargo clippy --locked --workspace --all-targets -- -D warnings
cargo clippy --locked --no-default-features -- -D warnings
cargo clippy --locked --no-default-features --features fuzzing -- -D warnings
