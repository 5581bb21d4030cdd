# in under a minute: rustfmt, clippy, the unit tests with 50 fault schedules,
# and the integration tests of the calls

modules=(admin authorization batch callers explain freshness get_user groups layering request_limits verified_tokens)
cargo fmt --all --check
cargo clippy --locked --workspace --all-targets -- -D warnings
MODEL_SEEDS=${MODEL_SEEDS:-0..50} cargo test --locked --workspace --lib --quiet -- --skip users::tests::load
cargo test --locked --workspace --test integration --quiet -- "${modules[@]/%/::}"
