#!/bin/sh
# Runs the tests against emulators that others made: Azurite (Microsoft's), s3rver and fake-gcs-server. They are
# installed below $1, by npm and go, and stopped at the end. Nothing of them is linked or in go.mod.
#
#	sh certs/source/emulators.sh /var/tmp/emulators
set -eu
[ $# -eq 1 ] || { echo "usage: $0 DIRECTORY" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)

[ -x "$dir/node_modules/.bin/azurite-blob" ] && [ -x "$dir/node_modules/.bin/s3rver" ] ||
	npm install --prefix "$dir" --no-audit --no-fund --ignore-scripts azurite@3.37.0 s3rver@3.7.1
[ -x "$dir/bin/fake-gcs-server" ] || (cd "$dir" && GOFLAGS= GOBIN="$dir/bin" go install github.com/fsouza/fake-gcs-server@v1.52.2)
[ -f "$dir/cert.pem" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 \
	-addext subjectAltName=IP:127.0.0.1 -keyout "$dir/key.pem" -out "$dir/cert.pem"

data=$(mktemp -d)
pids=
stop() {
	for p in $pids; do kill "$p" 2>/dev/null || true; done
	wait # what they still write would be in the way
	rm -rf "$data"
}
trap stop EXIT INT TERM
"$dir/node_modules/.bin/azurite-blob" --silent --blobHost 127.0.0.1 --blobPort 24571 --oauth basic --cert "$dir/cert.pem" --key "$dir/key.pem" \
	--location "$data" --disableTelemetry --skipApiVersionCheck >"$data/azurite.log" 2>&1 &
pids="$pids $!"
"$dir/node_modules/.bin/s3rver" -s -d "$data" -a 127.0.0.1 -p 24572 --configure-bucket acme-pki >"$data/s3rver.log" 2>&1 &
pids="$pids $!"
"$dir/bin/fake-gcs-server" -scheme http -host 127.0.0.1 -port 24573 -backend memory >"$data/gcs.log" 2>&1 &
pids="$pids $!"
for url in https://127.0.0.1:24571 http://127.0.0.1:24572 http://127.0.0.1:24573; do
	n=0
	until curl -sk -o /dev/null --max-time 2 "$url/"; do
		n=$((n + 1))
		[ $n -lt 60 ] || { cat "$data"/*.log >&2; echo "nothing answers at $url" >&2; exit 1; }
		sleep 0.5
	done
done
cd "$root"
EMULATOR_AZURE=https://127.0.0.1:24571 EMULATOR_AZURE_CA="$dir/cert.pem" EMULATOR_S3=http://127.0.0.1:24572 EMULATOR_GCS=http://127.0.0.1:24573 \
	go test -count=1 -tags emulators -run 'FakeGCSServer|S3rver|Azurite' -v ./certs/source
