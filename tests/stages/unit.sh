# cargo test on all crates, then a search for personal data in everything that the tests let out

rm -rf "$target/tmp/canary"
cargo test --locked --workspace
# The other tests must have ended: this one reads what all of them logged, recorded and returned.
cargo test --locked --workspace --test integration -- --ignored --exact \
  support::canary::no_test_output_has_personal_data
cargo test --locked --workspace --lib --test integration memory -- --ignored --nocapture --test-threads 1
