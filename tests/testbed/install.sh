#!/usr/bin/env bash
# Prepares the real servers that the tests use, so that no test has to wait for them: `make testbed`.
# Python packages are not its business: `make test` installs those.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ ! -x .venv/bin/python ]; then
  echo "There is no .venv yet: run 'make test' once, then this again." >&2
  exit 1
fi

if command -v go >/dev/null; then
  echo "Kubernetes control plane: building it if need be: about 10 minutes, and 4 GB of disk meanwhile ..."
  .venv/bin/python -m tests.testbed.controlplane build
else
  echo "Go is not installed: tests on a real kube-apiserver will be skipped. See https://go.dev/doc/install" >&2
  [ "${STRICT:-}" != 1 ] || exit 1
fi
