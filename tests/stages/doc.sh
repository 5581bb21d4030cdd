# rustdoc on all crates, private items too; warnings are errors

RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --document-private-items
