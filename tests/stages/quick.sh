# for the inner loop: rustfmt, clippy, unit tests with 50 schedules of faults, and the faster integration tests

cargo fmt --all --check
cargo clippy --locked --workspace --all-targets -- -D warnings
MODEL_SEEDS=${MODEL_SEEDS:-0..50} cargo test --locked --workspace --lib
cargo test --locked --workspace --test integration
