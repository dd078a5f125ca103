#!/bin/sh
# Build Caddy v2.11.9 from its own Go module: certs/deliver is tested with it as
# somebody's own proxy, and the benchmark compares with it. It lives in a module
# of its own, so that nothing of it reaches go.mod. Takes about three minutes of
# CPU.
#
# usage: scripts/caddy.sh [DEST]
#
# DEST is the binary; the default is where the tests and the benchmark look for
# it. Nothing is done when it is there already.
set -eu

version=v2.11.9
sum=h1:bhZtcRKQOq0fuLvEgCdPYvUxXyGn9kzjG4lh2332DTE=
dest=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/fairlead/caddy-$version}

if [ -x "$dest" ]; then
	exit 0
fi
mkdir -p "$(dirname "$dest")"
work=$(mktemp -d)
part=$dest.$$
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work" "$part"' EXIT INT TERM

cd "$work"
info=$(GOFLAGS=-mod=mod go mod download -json "github.com/caddyserver/caddy/v2@$version")
got=$(printf '%s\n' "$info" | sed -n 's/^[[:space:]]*"Sum": "\(.*\)",*$/\1/p')
if [ "$got" != "$sum" ]; then
	echo "caddy: caddyserver/caddy $version has checksum $got, want $sum" >&2
	exit 1
fi

CGO_ENABLED=0 GOWORK=off GOFLAGS=-mod=mod GOBIN="$work" nice -n 10 go install -trimpath \
	-ldflags "-s -w" "github.com/caddyserver/caddy/v2/cmd/caddy@$version"
mv "$work/caddy" "$part"
mv "$part" "$dest"
