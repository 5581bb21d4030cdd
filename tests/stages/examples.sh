# the clients of examples/ against the sandbox; Go and Java only on Debian 12 with a JDK

install_python tests/interop/requirements.txt "$tools/python"
install_node examples/node "$tools/examples-node"
if works javac -version && grep -qsx 'VERSION_CODENAME=bookworm' /etc/os-release; then
  unpack_debian
  export EXAMPLES_DEBIAN=$tools/debian
else
  say "skipping Go and Java: they need the libraries of Debian 12 and a JDK"
fi
cargo test --locked --workspace --no-run
cargo build --locked --package cognito-lookup-example
INTEROP_BINARY=$target/debug/cognito-lookup EXAMPLES_RUST=$target/debug/cognito-lookup-example \
  EXAMPLES_NODE_MODULES=$tools/examples-node/node_modules PYTHONPYCACHEPREFIX=$tools/pycache \
  "$tools/python/bin/python" -m pytest tests/examples
