# shellcheck shell=bash
# What the scripts share: saying things, installing Debian packages, and building a program from its own Go module.
# Sourced, never run.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
	say "$*"
	exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [ "$(id -u)" -eq 0 ]; }

# apt_get runs apt-get unattended. It waits for another apt-get's lock, and its log is shown only when it fails.
apt_get() {
	local log
	log=$(mktemp)
	if DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" \
		</dev/null >"$log" 2>&1; then
		rm -f "$log"
		return 0
	fi
	say "apt-get $* ended with an error; its last lines:"
	tail -n 15 "$log" >&2
	rm -f "$log"
	return 1
}

# in_apt says whether a package of this name can be installed (a name that only other packages provide does not count).
in_apt() { [[ $(apt-cache policy "$1" 2>/dev/null) == *"Candidate: "[!\(]* ]]; }

# apt_prepare mends what an interrupted installation left half-done and reads the package lists. $1 says what is missing,
# the rest which packages bring it, for the message where nothing can be installed.
apt_prepare() {
	local what=$1
	shift
	have apt-get || die "$what is missing and this is neither Debian nor Ubuntu: install it ($*), then try again"
	is_root || die "$what is missing: run 'sudo apt-get install $*', then try again"
	DEBIAN_FRONTEND=noninteractive dpkg --configure -a </dev/null >/dev/null 2>&1 || true # apt_install says what is left
	apt_get update || say "package lists may be old"
	apt_get -f install || true # likewise
}

# Another vendor's engine that conflicts with Debian's is never removed to make room.
gently=(--no-install-recommends --no-remove)

apt_install() {
	say "installing $* with apt-get"
	apt_get install "${gently[@]}" "$@"
}

# cached prints where a program that is built once is kept; the tests look there.
cached() { printf '%s/fairlead/%s\n' "${XDG_CACHE_HOME:-$HOME/.cache}" "$1"; }

# build_module DEST MODULE@VERSION SUM PACKAGE [LDFLAGS] builds a program from its own Go module, so that nothing of it
# reaches go.mod. SUM is the module's checksum as in go.sum. DEST appears whole or not at all.
build_module() (
	dest=$1 module=$2 sum=$3 package=$4 flags=${5:-} go=${GO:-go}
	[ -x "$dest" ] && exit 0
	mkdir -p "$(dirname "$dest")"
	dest=$(cd "$(dirname "$dest")" && pwd)/$(basename "$dest") part=$dest.$BASHPID
	work=$(mktemp -d)
	trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work" "$part"' EXIT
	trap 'exit 130' INT TERM
	cd "$work" || exit
	export GOWORK=off GOFLAGS=-mod=mod
	info=$("$go" mod download -json "$module") || die "$module cannot be downloaded: $info"
	got=$(sed -n 's/^[[:space:]]*"Sum": "\(.*\)",*$/\1/p' <<<"$info")
	dir=$(sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p' <<<"$info")
	[ "$got" = "$sum" ] || die "$module has checksum $got, want $sum: it is not built"
	cp -R "$dir" src
	chmod -R u+w src
	cd src || exit
	CGO_ENABLED=0 nice -n 10 "$go" build -trimpath -ldflags "-s -w $flags" -o "$part" "$package"
	mv "$part" "$dest"
)
