# generates pages of docs/ and the schema of the chart from the code; the interop stage checks that they are up to date

install_python tests/interop/requirements.txt "$tools/python"
cargo test --locked --workspace --no-run
INTEROP_BINARY=$target/debug/cognito-lookup PYTHONPYCACHEPREFIX=$tools/pycache \
  "$tools/python/bin/python" tests/interop/pages.py
