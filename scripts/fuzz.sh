#!/usr/bin/env bash
# Runs every fuzz target for a time each: scripts/fuzz.sh TIME PACKAGE…
# Targets are found by name, so that a new one cannot be forgotten. Goes on after a failure and exits 1 at the end.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

go=${GO:-go}
[ $# -ge 2 ] || die "usage: fuzz.sh TIME PACKAGE…"
time=$1
shift

run=0
failed=()
while read -r package; do
	list=$("$go" test -run '^$' -list '^Fuzz' "$package")
	for target in $(grep '^Fuzz' <<<"$list" || true); do
		run=$((run + 1))
		echo "== $package $target"
		# Only the target itself: the seeds of others belong to 'make test'.
		"$go" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" || failed+=("$package $target")
	done
done < <("$go" list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' "$@")

[ "$run" -gt 0 ] || die "no fuzz target in $*"
echo "$run fuzz targets, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ] || { printf 'failed: %s\n' "${failed[@]}" >&2 && exit 1; }
