# the instruction count of a cache hit (valgrind), compared with benches/hit/instructions.toml

install_packages valgrind=valgrind
cargo bench --locked --profile count --bench hit -- count
