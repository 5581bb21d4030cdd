# everything that a release has, in target/release-files/: the static binary, SBOM, image, chart, proto and client
# crate, with checksums and a provenance statement; docs/releasing.md explains it

[[ -z $(git status --porcelain) ]] || refuse "a release is made from a commit, and there are changes that are not committed."
install_python tests/supply/requirements.txt "$tools/supply"
install_python tests/interop/requirements.txt "$tools/python"
install_packages buildah=buildah
install_validators

triple=$(rustc --print host-tuple)
work=$target/release-build
# All that differs between two builds of one commit: the time, and the folders.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
rust_flags="-C target-feature=+crt-static" c_flags=
# Of several that fit, the last one counts.
for folder in "$PWD=/source" "${CARGO_HOME:-$HOME/.cargo}=/cargo" "$work=/build"; do
  rust_flags+=" --remap-path-prefix=$folder" c_flags+=" -ffile-prefix-map=$folder"
done
export SOURCE_DATE_EPOCH
RUSTFLAGS=$rust_flags CFLAGS=$c_flags CARGO_TARGET_DIR=$work CARGO_INCREMENTAL=0 \
  cargo build --locked --release --no-default-features --bin cognito-lookup --target "$triple"
CARGO_TARGET_DIR=$work cargo package --locked --quiet --package cognito-lookup-client
TOOLS=$tools python3 tests/supply/release.py "$triple" "$work" "$target/release-files"
