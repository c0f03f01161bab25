#!/usr/bin/env bash
# Prepares the real servers that the tests use, so that no test has to wait for them: `make testbed`.
# make sees to .venv first.
set -euo pipefail
cd "$(dirname "$0")/../.."

if command -v go >/dev/null; then
  echo "Kubernetes control plane: building it if need be: about 10 minutes, and 4 GB of disk meanwhile ..."
  .venv/bin/python -m tests.testbed.controlplane build
  echo "vCenter simulator: building it if need be: a minute ..."
  .venv/bin/python -m tests.testbed.vcsim build
else
  echo "Go is not installed: tests on a real kube-apiserver and on vcsim will be skipped. See https://go.dev/doc/install" >&2
  [ "${STRICT:-}" != 1 ] || exit 1
fi
