#!/usr/bin/env bash
# Makes the image in which the tests run Python connectors, without any image registry: a small Debian with python3 and pip,
# by debootstrap, imported into the engine as fairlead-test/python:bookworm. The root is packed once and kept where the other
# programs of the tests are; an engine that has the image already is left alone. It takes about a minute, once.
#
#   scripts/pythonimage.sh [IMAGE]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

suite=bookworm
image=${1:-fairlead-test/python:$suite}
recipe=1 # raise it when what is in the root changes
packed=$(cached "python-$suite-$recipe.tar.gz")
: "${mirror:=http://deb.debian.org/debian}"

# The label says by which recipe an image was made.
[ "$(docker image inspect -f '{{index .Config.Labels "fairlead.test.recipe"}}' "$image" 2>/dev/null)" = "$recipe" ] && exit 0

pack() (
	PATH="$PATH:/usr/sbin:/sbin"
	"$here/need.sh" debootstrap debootstrap
	is_root || die "the Python image of the tests is made by debootstrap, which needs root: run 'sudo scripts/pythonimage.sh' once"
	work=$(mktemp -d)
	part=$packed.$BASHPID
	# debootstrap may leave its mounts when it is stopped
	trap 'umount -q "$work/root/proc" "$work/root/sys" 2>/dev/null || true; rm -rf --one-file-system "$work"; rm -f "$part"' EXIT
	trap 'exit 130' INT TERM
	say "making a Debian root with python3 (about a minute, once)"
	log=$work/log
	if ! debootstrap --variant=minbase --include=python3-minimal,python3,python3-pip,ca-certificates \
		"$suite" "$work/root" "$mirror" >"$log" 2>&1; then
		tail -n 15 "$log" >&2
		die "debootstrap ended with an error"
	fi
	# Debian's pip refuses to install beside the packages of the system; in a container that mark is only in the way.
	rm -f "$work"/root/usr/lib/python3*/EXTERNALLY-MANAGED
	rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/* "$work"/root/usr/share/doc \
		"$work"/root/usr/share/man "$work"/root/usr/share/locale
	umount -q "$work/root/proc" "$work/root/sys" 2>/dev/null || true
	tar -C "$work/root" --one-file-system --numeric-owner -cf - . | gzip -1 >"$part"
	mv "$part" "$packed"
)

mkdir -p "$(dirname "$packed")"
exec 9>"$packed.lock"
flock 9 # two test runs at once make it once
[ -s "$packed" ] || pack
docker import -c 'CMD ["python3"]' -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
	-c "LABEL fairlead.test.recipe=$recipe" "$packed" "$image" >/dev/null
say "$image is there"
