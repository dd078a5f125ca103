#!/bin/sh
# Build Pebble v2.10.1, the ACME server that Let's Encrypt makes for tests, from
# its own Go module: certs/acme is tested against it. It lives in a module of
# its own, so that nothing of it reaches go.mod. Takes about half a minute.
#
# usage: scripts/pebble.sh [DEST]
#
# DEST is the binary; the default is where the tests look for it. Nothing is
# done when it is there already.
set -eu

version=v2.10.1
sum=h1:oKHx3lgN4e5Nno2LKTMrVx+b+NkDptkO9aDireiBDGE=
dest=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/fairlead/pebble-$version}

if [ -x "$dest" ]; then
	exit 0
fi
mkdir -p "$(dirname "$dest")"
work=$(mktemp -d)
part=$dest.$$
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work" "$part"' EXIT INT TERM

cd "$work"
info=$(GOFLAGS=-mod=mod go mod download -json "github.com/letsencrypt/pebble/v2@$version")
got=$(printf '%s\n' "$info" | sed -n 's/^[[:space:]]*"Sum": "\(.*\)",*$/\1/p')
dir=$(printf '%s\n' "$info" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
if [ "$got" != "$sum" ]; then
	echo "pebble: letsencrypt/pebble $version has checksum $got, want $sum" >&2
	exit 1
fi

cp -R "$dir" src
chmod -R u+w src
cd src
CGO_ENABLED=0 GOWORK=off GOFLAGS=-mod=mod nice -n 10 go build -trimpath -ldflags "-s -w" -o "$part" ./cmd/pebble
mv "$part" "$dest"
