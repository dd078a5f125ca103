#!/usr/bin/env bash
# Builds Pebble v2.10.1, the ACME server that Let's Encrypt makes for tests, from its own Go module: certs/acme is tested
# against it. It takes about half a minute.
#
#   scripts/pebble.sh [DEST]
#
# DEST is the binary; the default is where the tests look for it. Nothing is done when it is there already.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

version=v2.10.1
build_module "${1:-$(cached pebble-$version)}" github.com/letsencrypt/pebble/v2@$version \
	h1:oKHx3lgN4e5Nno2LKTMrVx+b+NkDptkO9aDireiBDGE= ./cmd/pebble
