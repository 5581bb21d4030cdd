# the files of deploy/, checked with their validators and with the built binary

install_node tests/interop "$tools/node"
install_stores
install_packages buildah=buildah promtool=prometheus systemd-analyze=systemd
install_validators
# Builds the binary as in the image, but not optimised. The next command restores the test binary.
cargo rustc --locked --no-default-features --bin cognito-lookup -- -C target-feature=+crt-static
cp "$target/debug/cognito-lookup" "$tools/deploy/image-binary"
cargo test --locked --workspace --no-run
DEPLOY_TOOLS=$tools/deploy DEPLOY_IMAGE_BINARY=$tools/deploy/image-binary DEPLOY_STORE=$tools/stores/valkey-server \
  INTEROP_BINARY=$target/debug/cognito-lookup INTEROP_NODE_MODULES=$tools/node/node_modules \
  PYTHONPYCACHEPREFIX=$tools/pycache "$tools/deploy/python/bin/python" -m pytest tests/deploy
