# Functions for tests/run and all stages: messages and checks of the prerequisites.

say() {
  printf '\n== tests/run: %s\n' "$1"
}

refuse() {
  printf 'tests/run: %s\n' "$1" >&2
  exit 2
}

works() {
  "$@" >/dev/null 2>&1
}

# Selects an installed toolchain of the version in rust-toolchain.toml.
find_toolchain() {
  local cargo root version name
  cargo=$(command -v cargo) || return 0
  # If HOME was changed, rustup looks for its toolchains in the wrong folder.
  root=${cargo%/.cargo/bin/cargo}/.rustup
  [[ -n ${RUSTUP_HOME:-} || -d ${HOME:-}/.rustup || ! -d $root ]] || export RUSTUP_HOME=$root
  works rustup --version || return 0
  version=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
  # A toolchain with another name, such as `stable`, may have that version and save a download.
  for name in $(RUSTUP_TOOLCHAIN= rustup toolchain list | cut -d ' ' -f 1); do
    case $name in "$version"*) return ;; esac
    [[ $(rustup run "$name" rustc --version) != "rustc $version "* ]] || RUSTUP_TOOLCHAIN=$name
  done
  [[ -z ${RUSTUP_TOOLCHAIN:-} ]] || export RUSTUP_TOOLCHAIN
}

require_prerequisites() {
  local missing=()
  works cargo --version || missing+=("cargo (rustup)")
  works cargo fmt --version || missing+=("rustfmt (rustup component add rustfmt)")
  works cargo clippy --version || missing+=("clippy (rustup component add clippy)")
  works cc --version || missing+=("a C compiler named cc")
  works make --version || missing+=("make")
  works python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || missing+=("python3 3.11 or later")
  works python3 -c 'import ensurepip, venv' || missing+=("Python's venv module (package python3-venv)")
  works node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' || missing+=("node 18 or later")
  works npm --version || missing+=("npm")
  ((!${#missing[@]})) || refuse "missing requirements:$(printf ', %s' "${missing[@]}" | cut -c2-)."
}

locate_target() {
  target=${CARGO_TARGET_DIR:-target}
  mkdir -p "$target/tools"
  target=$(cd "$target" && pwd)
  tools=$target/tools
}
