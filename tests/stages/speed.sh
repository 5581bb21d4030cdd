# the instructions of a cache hit, counted by valgrind, against benches/hit/instructions.toml

install_packages valgrind=valgrind
cargo bench --locked --profile count --bench hit -- count
