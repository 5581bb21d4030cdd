# writes the pages of docs/ that are generated from the code; the interop stage compares them

install_python tests/interop/requirements.txt "$tools/python"
cargo test --locked --workspace --no-run
INTEROP_BINARY=$target/debug/cognito-lookup PYTHONPYCACHEPREFIX=$tools/pycache \
  "$tools/python/bin/python" tests/interop/pages.py
