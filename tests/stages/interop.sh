# the built binary against moto and cognito-local, called by grpcurl, buf curl and grpcio,
# and by seven clients over each kind of listener; Go and Java only on Debian 12 with a JDK

install_packages chromium=chromium
install_python tests/interop/requirements.txt "$tools/python"
install_node tests/interop "$tools/node"
install_node examples/node "$tools/examples-node"
install_debian_clients
# The same build as in the unit stage, so that nothing is compiled twice.
cargo test --locked --workspace --no-run
INTEROP_BINARY=$target/debug/cognito-lookup INTEROP_RUST=$target/debug/examples/matrix_client \
  INTEROP_STANDIN=$target/debug/examples/emulator \
  INTEROP_NODE_MODULES=$tools/node/node_modules EXAMPLES_NODE_MODULES=$tools/examples-node/node_modules \
  PYTHONPYCACHEPREFIX=$tools/pycache "$tools/python/bin/python" -m pytest tests/interop
