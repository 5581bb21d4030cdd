# the clients and backends of examples/ against the sandbox, the pages that show them, and the Lambda function;
# Go and Java only on Debian 12 with a JDK

install_python tests/interop/requirements.txt "$tools/python"
install_node examples/node "$tools/examples-node"
install_node examples/backends/express "$tools/express-node"
install_debian_clients
cargo test --locked --workspace --no-run
cargo build --locked --package cognito-lookup-example
INTEROP_BINARY=$target/debug/cognito-lookup EXAMPLES_RUST=$target/debug/cognito-lookup-example \
  EXAMPLES_NODE_MODULES=$tools/examples-node/node_modules EXPRESS_NODE_MODULES=$tools/express-node/node_modules PYTHONPYCACHEPREFIX=$tools/pycache \
  "$tools/python/bin/python" -m pytest tests/examples
