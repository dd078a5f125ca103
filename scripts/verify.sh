#!/usr/bin/env bash
# Regenerates what is generated (JSON Schema, command reference, golden files, go.mod) and fails when that changed a file.
# A change that was there before does not count, so it can be run while working; in CI the tree is clean to begin with.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
cd "$here/.."
go=${GO:-go}

# fingerprint is a line a changed or new file: its state, content hash and name.
fingerprint() {
	git status --porcelain=v1 -z --untracked-files=all --no-renames | while IFS= read -r -d '' line; do
		file=${line:3}
		if [ -f "$file" ]; then
			printf '%s %s\n' "$(git hash-object --no-filters -- "$file")" "$line"
		else
			printf 'gone %s\n' "$line"
		fi
	done
}

# golden_packages are those whose tests know -update.
golden_packages() {
	grep -rl --include='*_test.go' 'flag\.Bool("update"' . | while read -r file; do
		dirname "$file"
	done | sort -u
}

before=$(fingerprint)
"$go" generate ./...
mapfile -t golden < <(golden_packages)
for package in "${golden[@]}"; do
	# What is slow writes no golden file: an engine restarted, a daemon killed, a registry that fails.
	"$go" test -count=1 "$package" -skip "Killed|EngineRestart|Disturbed|Faults|Restarts" -update
done
"$go" mod tidy -diff || die "go.mod or go.sum is not tidy: run 'go mod tidy'"
after=$(fingerprint)
if [ "$before" != "$after" ]; then
	diff <(echo "$before") <(echo "$after") >&2 || true
	git --no-pager diff --stat >&2
	die "generated files are stale: run 'make verify', look at the changes and commit them"
fi
echo "generated files are up to date"
