#!/usr/bin/env bash
# Makes sure that PostgreSQL's programs are there: the tests run a server of their own. On Debian and Ubuntu as root the
# package is installed, and the cluster that it brings is not to run on port 5432; elsewhere it says what to do.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

# Debian keeps them out of PATH, in a directory of each version, where the tests look too.
have_initdb() { have initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }

have_initdb && exit 0
apt_prepare "PostgreSQL (initdb)" postgresql
apt_install postgresql || true # what counts is the program, and another apt-get may have brought it meanwhile
have_initdb || die "initdb is still missing after installing postgresql"
systemctl disable --now postgresql >/dev/null 2>&1 || true
