#!/usr/bin/env bash
# Builds docker compose v2.40.3 from its own Go module: the oracle that the tests of desired/compose and reconciler/docker
# compare with. Its dependencies clash with ours (docs/adr). It takes about eight minutes of CPU.
#
#   scripts/compose-oracle.sh [DEST]
#
# DEST is the binary; the default is where the tests look for it. Nothing is done when it is there already.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

version=v2.40.3
build_module "${1:-$(cached docker-compose-$version)}" github.com/docker/compose/v2@$version \
	h1:XeYkQu1svDtyfZPv5nTwFryQ25ZJMkIlc4pz9HalMPI= ./cmd "-X github.com/docker/compose/v2/internal.Version=$version"
