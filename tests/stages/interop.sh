# the built binary against moto and cognito-local, called by grpcurl, buf curl and grpcio

install_python tests/interop/requirements.txt "$tools/python"
install_node tests/interop "$tools/node"
# The same build as in the unit stage, so that nothing is compiled twice.
cargo test --locked --workspace --no-run
INTEROP_BINARY=$target/debug/cognito-lookup INTEROP_NODE_MODULES=$tools/node/node_modules \
  PYTHONPYCACHEPREFIX=$tools/pycache "$tools/python/bin/python" -m pytest tests/interop
