# rustdoc on all crates, including private items; warnings are errors

RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --document-private-items
