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

if command -v dockerd >/dev/null && command -v containerd >/dev/null && command -v iptables >/dev/null; then
  echo "Docker: it is here."
elif command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  echo "Docker: installing Debian's; the tests start a daemon of their own ..."
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends docker.io iptables >/dev/null
else
  echo "Docker is not installed, and this is not root on a Debian: tests on a real dockerd will be skipped." >&2
  [ "${STRICT:-}" != 1 ] || exit 1
fi

if command -v ip >/dev/null && command -v iptables-restore >/dev/null && command -v ip6tables-restore >/dev/null; then
  echo "Networks of pods: they are here."
elif command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  echo "Networks of pods: installing iproute2 and iptables; the tests use namespaces of their own ..."
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends iproute2 iptables >/dev/null
else
  echo "iproute2 or iptables is not installed, and this is not root on a Debian: tests with packets will be skipped." >&2
  [ "${STRICT:-}" != 1 ] || exit 1
fi

if command -v chromium >/dev/null; then
  echo "Chromium: it is here."
elif command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  echo "Chromium: installing Debian's; a test looks at a page with it ..."
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null
else
  echo "Chromium is not installed, and this is not root on a Debian: the test that looks at a page will be skipped." >&2
  [ "${STRICT:-}" != 1 ] || exit 1
fi
