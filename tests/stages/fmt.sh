# rustfmt

cargo fmt --all --check
