#!/usr/bin/env bash
# Fetches axe-core 4.14.1, the accessibility checker (MPL-2.0), with npm and puts its one file where the browser tests look
# for it. Nothing of it is part of Fairlead.
#
#   scripts/axe.sh [DEST]
#
# Nothing is done when it is there already.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

version=4.14.1
sum=1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5 # of the tarball, SHA-512
dest=${1:-$(cached "axe-core-$version.js")}
[ -s "$dest" ] && exit 0

"$here/need.sh" npm npm
mkdir -p "$(dirname "$dest")"
work=$(mktemp -d)
trap 'rm -rf "$work" "$dest.$BASHPID"' EXIT
log=$work/log
(cd "$work" && npm pack --silent --ignore-scripts "axe-core@$version") >"$log" 2>&1 || die "axe-core cannot be fetched with npm: $(tail -n 3 "$log")"
tarball=$work/axe-core-$version.tgz
got=$(sha512sum "$tarball")
[ "${got%% *}" = "$sum" ] || die "axe-core $version has checksum ${got%% *}, want $sum: it is not used"
tar -xzf "$tarball" -C "$work" package/axe.min.js
cp "$work/package/axe.min.js" "$dest.$BASHPID"
mv "$dest.$BASHPID" "$dest"
