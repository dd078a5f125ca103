package desired

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	good := map[string]time.Duration{
		"0s": 0, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "14d": 14 * 24 * time.Hour, "1d12h": 36 * time.Hour,
		"1.5h": 90 * time.Minute, "100ms": 100 * time.Millisecond, "106751d": 106751 * 24 * time.Hour, "5µs": 5000,
	}
	for in, want := range good {
		if got, err := ParseDuration(in); err != nil || time.Duration(got) != want {
			t.Errorf("%q: got %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "5", "-5s", "+5s", "s", "5 s", "1h1d", "1.5d", "d", "5x", "5s ", "106752d", "106751d24h", "9999999999999999999h", "99999999999999999999d", strings.Repeat("1s", 40)} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("%q: got %v", in, got)
		}
	}
}

func TestDurationRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Duration(rapid.Int64Min(0).Draw(t, "d"))
		got, err := ParseDuration(want.String())
		if err != nil || got != want {
			t.Fatalf("%s: got %v, %v", want, got, err)
		}
	})
}

func TestParseWindow(t *testing.T) {
	days := func(d ...time.Weekday) []time.Weekday { return d }
	everyDay := days(time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday, time.Saturday, time.Sunday)
	tests := []struct {
		in         string
		days       []time.Weekday
		start, end int
		zone       string
	}{
		{"Mon-Fri 02:00-05:00 Europe/Prague", everyDay[:5], 120, 300, "Europe/Prague"},
		{"02:00-05:00", everyDay, 120, 300, "UTC"},
		{"Sun 00:00-24:00 UTC", days(time.Sunday), 0, 1440, "UTC"},
		{"Fri-Mon 22:00-04:00 America/Argentina/Buenos_Aires", days(time.Monday, time.Friday, time.Saturday, time.Sunday), 1320, 240, "America/Argentina/Buenos_Aires"},
		{"Mon,Wed,Fri-Sat 09:30-10:00 Etc/GMT+5", days(time.Monday, time.Wednesday, time.Friday, time.Saturday), 570, 600, "Etc/GMT+5"},
	}
	for _, tt := range tests {
		w, err := ParseWindow(tt.in)
		if err != nil || !slices.Equal(w.Days, tt.days) || w.Start != tt.start || w.End != tt.end || w.Zone.String() != tt.zone || w.String() != tt.in {
			t.Errorf("%q: got %+v, %v", tt.in, w, err)
		}
	}
	for _, in := range []string{"", "always", "mon 02:00-05:00", "Mon-Fri", "Mon- 02:00-05:00", "02:00", "2:00-5:00", "24:00-05:00", "02:60-05:00",
		"02:00-02:00", "02:00-05:00 Local", "02:00-05:00 Mars/Base", "02:00-05:00 ../../etc/passwd", "02:00-05:00  UTC", " 02:00-05:00", "Mon,, 02:00-05:00",
		"02:00-05:00 " + strings.Repeat("A", 200)} {
		if w, err := ParseWindow(in); err == nil {
			t.Errorf("%q: got %+v", in, w)
		}
	}
}

func TestSyntaxes(t *testing.T) {
	tests := map[string]struct{ good, bad []string }{
		"name":       {[]string{"a", "acme-2", "a" + strings.Repeat("b", 38)}, []string{"", "A", "1a", "-a", "a_b", "a\n", strings.Repeat("a", 40)}},
		"version":    {[]string{"2026.04.3", "2026.12.971"}, []string{"2026.4.3", "2026.13.1", "2026.00.1", "2026.04.0", "2026.04.03", "2026.04", "v2026.04.3", "2026.04.3\n", "26.04.3"}},
		"digest":     {[]string{"sha256:" + hex64}, []string{"sha256:", hex64, "sha512:" + hex64, "sha256:" + strings.ToUpper(hex64), "sha256:" + hex64 + "0"}},
		"repository": {[]string{"redis", "ghcr.io/acme/app", "127.0.0.1:5000/a/b-c_d.e"}, []string{"redis:7", "a@sha256:" + hex64, "A", "https://ghcr.io/a", "a/", ""}},
		"tag":        {[]string{"stable", "dev-Feature_1.2"}, []string{"", ".a", "a b", strings.Repeat("a", 129)}},
		"host":       {[]string{"data.acme.com", "localhost", "a-b.c"}, []string{"", "Data.acme.com", "a..b", "-a", "a_b", "*.a.b", "a.b:80", strings.Repeat("a.", 130) + "b"}},
		"domain":     {[]string{"*.acme.com", "acme.com", "192.0.2.1", "2001:db8::1"}, []string{"*", "a.*.b", "**.a.b", "*.com", "1.2.3", "192.0.2.256", "*.192.0.2.1", "::ffff:1.2.3.4", "2001:db8:::1", "a:b"}},
		"file":       {[]string{"compose.yaml", "../../shared/base.yaml", "a/b.yaml"}, []string{"/etc/x", `a\b`, "dir/", ".", "a/..", "a\x00b", `\x`}},
		"certRef": {[]string{"sm://acme-key", "gs://bucket/x", "https://pki.acme.com/x?y=z", "file:///etc/x.pem", "vault://secret/x", "env://A", "age://a/b.age", "azkv://acme-vault/edge", "azblob://acme/tls/x", "awssm://tls/x"},
			[]string{"http://x", "sm://", "file://etc/x", "https://a:b@c", "https://a/b#c", "https://", "x", "https://%zz", "age://../x", "env://a-b", "s3://b/k?region=x", "sm://n?x=1", "gs://bucket/o?generation=x"}},
		"httpURL":    {[]string{"http://app:8000/x"}, []string{"ftp://x", "http://", "app:8000", "http://u@x"}},
		"subject":    {[]string{"/C=CZ/O=Acme s.r.o./CN=data.acme.com", "/CN=a", "/OU=a/OU=b/CN=c", "/CN=a/CN=b", `/O=A\/B+OU=\+`}, []string{"", "CN=a", "/CN=", "/X=1", "/C=cz", "/", `/CN=a\`, "/CN=a+", "/CN=" + strings.Repeat("a", 65), "/DC=ä"}},
		"target":     {[]string{"app:8000"}, []string{"app", "app:0", "app:65536", ":80", "a b:80"}},
		"signal":     {[]string{"SIGUSR1", "SIGHUP"}, []string{"USR1", "SIG", "sighup", "9", "SIGKILL", "SIGURS1"}},
		"deliverDir": {[]string{"/srv/tls"}, []string{"/", "srv", "/srv/", "/srv/../x", "/srv\x00"}},
		"owner":      {[]string{"0:0", "999:4294967294"}, []string{"caddy:caddy", "999", "-1:0", "4294967295:0", "1:99999999999"}},
		"prove":      {[]string{":443", "127.0.0.1:443", "[::1]:8443", "data.acme.com:443"}, []string{"443", "127.0.0.1", ":0", ":65536", "::1:443", "a b:1", "-x:1", "https://a:1"}},
		"adminURL":   {[]string{"http://127.0.0.1:2019", "http://localhost:2019/", "http://[::1]:2019", ":2019"}, []string{"127.0.0.1:2019", ":0", ":99999", "https://127.0.0.1:2019", "http://caddy.acme.com:2019", "http://u:p@x", "http://x/load", "http://x?a=b", "http://:2019", "http://x:0", "unix:///x"}},
		"resolver":   {[]string{"192.0.2.53", "192.0.2.53:5353", "2001:db8::1", "[2001:db8::1]:53", "ns.acme.com:53"}, []string{"", "udp://x", "192.0.2.53:0", "-a:53", "a b"}},
		"pin":        {[]string{"sha256/" + strings.Repeat("A", 43) + "="}, []string{"sha256/AAAA", "sha1/" + strings.Repeat("A", 43) + "=", strings.Repeat("A", 43) + "="}},
		"macKey":     {[]string{"Yg", "Yg==", "${secret:A}"}, []string{"", "a b", "a+b", "Y", "x${secret:A}"}},
		"hostPath":   {[]string{"/data", "/"}, []string{"data", "/data/", "/a/../b", ""}},
		"imageGlob":  {[]string{"ghcr.io/keboola/*", "postgres"}, []string{"", "[", "a b", "*"}},
		"profile":    {[]string{"full", "*", "a1"}, []string{"", "-a", "a b"}},
		"field":      {[]string{"locked", "data.rows", "tables.0.name"}, []string{"", ".a", "a..b", "a b", "0a"}},
		"notify": {[]string{"slack://a@b", "generic+https://x/y", "generic+http://10.0.0.1:8080/y?a=b", "ntfy://ntfy.sh/topic", "smtp://u:p@h:587/?from=a@b&to=c@d", "telegram://1:a@telegram?chats=@a", "pushover://:t@u/", "discord://t@1", "teams://a@b/c/d?host=x"},
			[]string{"slack", "://x", "slack://", "logger://", "generic://x", "generic+https://", "generic+https://u:p@x/", "generic+https://x/#a", "slack+https://x/y", "nothing://x", "slack://a b", "exec://x", "https://x/y", "file:///etc/passwd", "generic+file://x/y"}},
	}
	for name, tt := range tests {
		for _, s := range tt.good {
			if text := syntaxes[name].text(s); text != "" {
				t.Errorf("%s: %s", name, text)
			}
		}
		for _, s := range tt.bad {
			if syntaxes[name].text(s) == "" {
				t.Errorf("%s: %q is taken", name, s)
			}
		}
	}
}

func TestProblemsSorted(t *testing.T) {
	ps := Problems{{File: "b", Line: 1, Text: "x"}, {File: "a", Line: 2, Field: "z", Text: "x"}, {File: "a", Line: 2, Field: "y", Text: "x", Hint: "h"}, {File: "a", Text: "x"}}
	const want = "a: x\na:2: y: x (h)\na:2: z: x\nb:1: x"
	if err := ps.Err(); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if Problems(nil).Err() != nil {
		t.Error("no problems are an error")
	}
}
