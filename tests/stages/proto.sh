# buf lint and buf format of proto/

install_python tests/interop/requirements.txt "$tools/python"
"$tools/python/bin/buf" lint
"$tools/python/bin/buf" format --diff --exit-code --exclude-path proto/google
