# cargo test on all crates, then a search for personal data in the output of the tests

install_stores
rm -rf "$target/tmp/canary"
cargo test --locked --workspace
# Runs after these tests, because it reads their logs, audit records and responses.
cargo test --locked --workspace --test integration -- --ignored --exact \
  support::canary::no_test_output_has_personal_data
cargo test --locked --workspace --lib --test integration memory -- --ignored --nocapture --test-threads 1
