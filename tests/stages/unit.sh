# cargo test on all crates, then a search for personal data in everything that the tests let out

rm -rf "$target/tmp/canary"
cargo test --locked --workspace
# The other tests must have ended: this one reads what all of them logged, recorded and returned.
cargo test --locked --workspace --test integration -- --ignored --exact \
  support::canary::nothing_personal_was_let_out_by_any_test
cargo test --locked --workspace --lib --test integration memory -- --ignored --nocapture --test-threads 1
