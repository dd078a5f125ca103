#!/usr/bin/env bash
# Makes sure that a command exists: scripts/need.sh COMMAND PACKAGE…
# On Debian and Ubuntu as root the packages are installed; elsewhere it says what to do. Quiet when there is nothing to do.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

[ $# -ge 2 ] || die "usage: need.sh COMMAND PACKAGE…"
command=$1
shift
have "$command" && exit 0
apt_prepare "$command" "$@"
apt_install "$@" || true # what counts is the command, and another apt-get may have brought it meanwhile
have "$command" || die "$command is still missing after installing $*"
