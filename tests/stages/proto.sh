# buf lint, build and format of proto/

install_python tests/interop/requirements.txt "$tools/python"
"$tools/python/bin/buf" lint proto
"$tools/python/bin/buf" build proto --output /dev/null
"$tools/python/bin/buf" format --diff --exit-code --exclude-path proto/google proto
