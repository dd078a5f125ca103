#!/usr/bin/env bash
# Builds sops v3.13.3 from its own Go module: the tests of desired/secrets read what it writes, and have it read and
# change what they wrote. Its dependencies are many (docs/dependencies.md). It takes about two minutes of CPU.
#
#   scripts/sops.sh [DEST]
#
# DEST is the binary; the default is where the tests look for it. Nothing is done when it is there already.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

version=v3.13.3
build_module "${1:-$(cached sops-$version)}" github.com/getsops/sops/v3@$version \
	h1:saYczbT88kD1saNChe1cAbFQe5mrRhTIfEw3TaEcmK0= ./cmd/sops
