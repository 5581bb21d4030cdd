# the pages of examples/ against the sandbox; Go and Java on Debian 12 with a JDK only

install_python tests/interop/requirements.txt "$tools/python"
install_node examples/node "$tools/examples-node"
if works javac -version && grep -qsx 'VERSION_CODENAME=bookworm' /etc/os-release; then
  unpack_debian
  export EXAMPLES_DEBIAN=$tools/debian
else
  say "skipping Go and Java: their libraries are those of Debian 12, and Java needs a JDK"
fi
cargo test --locked --workspace --no-run
cargo build --locked --package cognito-lookup-example
INTEROP_BINARY=$target/debug/cognito-lookup EXAMPLES_RUST=$target/debug/cognito-lookup-example \
  EXAMPLES_NODE_MODULES=$tools/examples-node/node_modules PYTHONPYCACHEPREFIX=$tools/pycache \
  "$tools/python/bin/python" -m pytest tests/examples
