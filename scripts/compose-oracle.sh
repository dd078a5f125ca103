#!/bin/sh
# Build docker compose v2.40.3 from its own Go module: the oracle that the tests
# of desired/compose compare with. It lives in a module of its own, because its
# dependencies clash with ours (docs/adr). Takes about eight minutes of CPU.
#
# usage: scripts/compose-oracle.sh [DEST]
#
# DEST is the binary; the default is where the tests look for it. Nothing is
# done when it is there already.
set -eu

version=v2.40.3
sum=h1:XeYkQu1svDtyfZPv5nTwFryQ25ZJMkIlc4pz9HalMPI=
dest=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/fairlead/docker-compose-$version}

if [ -x "$dest" ]; then
	exit 0
fi
mkdir -p "$(dirname "$dest")"
work=$(mktemp -d)
part=$dest.$$
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work" "$part"' EXIT INT TERM

cd "$work"
info=$(GOFLAGS=-mod=mod go mod download -json "github.com/docker/compose/v2@$version")
got=$(printf '%s\n' "$info" | sed -n 's/^[[:space:]]*"Sum": "\(.*\)",*$/\1/p')
dir=$(printf '%s\n' "$info" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
if [ "$got" != "$sum" ]; then
	echo "compose-oracle: docker/compose $version has checksum $got, want $sum" >&2
	exit 1
fi

cp -R "$dir" src
chmod -R u+w src
cd src
CGO_ENABLED=0 GOWORK=off GOFLAGS=-mod=mod nice -n 10 go build -trimpath \
	-ldflags "-s -w -X github.com/docker/compose/v2/internal.Version=$version" \
	-o "$part" ./cmd
mv "$part" "$dest"
"$dest" version --short
