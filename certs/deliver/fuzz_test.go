package deliver

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"unicode"
)

// Whatever stands in the desired state, an admin API is asked at this host or
// at a container, and a login is never repeated.
func FuzzAdmin(f *testing.F) {
	for _, s := range []string{"http://127.0.0.1:2019", ":2019", "localhost", "http://[::1]:2019/", "http://10.0.0.9:2019", "http://u:s3cret@127.0.0.1",
		"http://169.254.169.254", "http://2130706433", "http://[::ffff:10.1.2.3]:80", "http://[fe80::1%25eth0]:80", "https://127.0.0.1", "http://127.0.0.1:99999999"} {
		f.Add(s)
	}
	container := netip.MustParseAddr("10.0.0.9")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseAdmin(s)
		if err != nil {
			if err.Error() != errAdmin.Error() {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		list, err := a.endpoints([]netip.Addr{container})
		if err != nil {
			return
		}
		for _, e := range list {
			ap, err := netip.ParseAddrPort(e)
			if err != nil {
				continue // a port that is none; nobody dials it
			}
			if !ap.Addr().IsLoopback() && ap.Addr() != container {
				t.Fatalf("%q leads to %s", s, e)
			}
		}
	})
}

// Whatever an admin API answers is one short line.
func FuzzRefusal(f *testing.F) {
	f.Add(500, `{"error":"loading new config: no"}`)
	f.Add(404, "<html>")
	f.Add(412, "")
	f.Add(200, "")
	f.Add(500, "{\"error\":\"a\\u0000\\n\\u202eb\"}")
	f.Fuzz(func(t *testing.T, status int, body string) {
		err := refusal(&http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body))})
		if err == nil {
			if status/100 != 2 {
				t.Fatalf("%d is taken for a success", status)
			}
			return
		}
		text := err.Error()
		if len([]rune(text)) > 400 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q", text)
		}
	})
}
