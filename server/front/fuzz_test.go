package front

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"strings"
	"testing"
)

func TestCleanHost(t *testing.T) {
	for in, want := range map[string]string{
		"app.test": "app.test", "APP.Test.:443": "app.test", "app.test:": "app.test", "a_b.test": "a_b.test", "127.0.0.1:80": "127.0.0.1",
		"[::1]:443": "::1", "[0:0::1]": "::1", "": "", ".": "", ".test": "", "a..test": "", "app.test:99999": "", "app.test:4a": "",
		"app test": "", "app.test/x": "", "user@app.test": "", "[::1": "", "[fe80::1%eth0]": "", "[127.0.0.1]": "", "é.test": "",
		"app.test..": "", strings.Repeat("a", 254): "", "a:1:2": "",
	} {
		if got, ok := cleanHost(in); ok != (want != "") || (ok && got != want) {
			t.Errorf("%q: %q %v, want %q", in, got, ok, want)
		}
	}
}

// FuzzHost: what is taken for a host is in the form of the table, and stays the
// same when it is cleaned again.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"app.test", "APP.test.:443", "[::1]:80", "a..b", "[::ffff:1.2.3.4]", "x:", ":80", "\x00", "a\r\nb", "..", "xn--9ca.test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, ok := cleanHost(in)
		if !ok {
			return
		}
		if got == "" || got != strings.ToLower(got) || strings.ContainsAny(got, " \r\n\t/@[]\"\\%\x00") || strings.HasSuffix(got, ".") {
			t.Fatalf("%q becomes %q", in, got)
		}
		again := got
		if strings.Contains(got, ":") {
			again = "[" + got + "]"
		}
		if twice, ok := cleanHost(again); !ok || twice != got {
			t.Fatalf("%q becomes %q and then %q %v", in, got, twice, ok)
		}
		if p := portOf(in, "443"); !isPort(p) {
			t.Fatalf("%q has port %q", in, p)
		}
	})
}

// FuzzForwarded: whoever sends what, a container is told one address, scheme,
// host and port, and the one next to us is ours.
func FuzzForwarded(f *testing.F) {
	f.Add("1.2.3.4", "https", "app.test", "443", "X-Forwarded-For", true)
	f.Add("1.2.3.4, evil, ::1", "ftp", "a b", "99999999", "x_forwarded_proto", true)
	f.Add("\"\n", "", "", "", "Forwarded", false)
	f.Add(strings.Repeat("::1,", 100), "http", "[::1]:80", "0", "X-Real-IP", true)
	f.Fuzz(func(t *testing.T, chain, proto, host, port, name string, trusted bool) {
		opts := Options{}
		if trusted {
			opts.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		}
		front := New(opts)
		in := httptest.NewRequest(http.MethodGet, "/", nil)
		in.Host, in.RemoteAddr = "app.test", "10.1.2.3:999"
		in.Header = http.Header{hXFF: {chain}, hProto: {proto}, hHost: {host}, hPort: {port}, "Forwarded": {chain}}
		if forwardingName(name) {
			in.Header[name] = []string{chain}
		}
		ex := &exchange{front: front, in: in, route: &route{host: "app.test"}}
		p := &httputil.ProxyRequest{In: in, Out: in.Clone(t.Context())}
		ex.rewrite(p)
		checkForwarded(t, p.Out.Header, trusted)
		out := ex.outgoing(t.Context()).Header
		delete(out, "User-Agent") // says that there is none
		checkForwarded(t, out, trusted)
	})
}

func checkForwarded(t *testing.T, h http.Header, trusted bool) {
	t.Helper()
	if len(h) != 4 {
		t.Fatalf("headers: %q", h)
	}
	for k, v := range h {
		if len(v) != 1 || strings.ContainsAny(v[0], "\r\n\x00") {
			t.Fatalf("%s: %q", k, v)
		}
	}
	list := strings.Split(h.Get(hXFF), ", ")
	if list[len(list)-1] != "10.1.2.3" || (!trusted && len(list) != 1) || len(list) > maxChain+1 {
		t.Fatalf("chain %q", list)
	}
	for _, a := range list {
		if _, err := netip.ParseAddr(a); err != nil {
			t.Fatalf("chain %q: %v", list, err)
		}
	}
	if _, ok := cleanHost(h.Get(hHost)); !ok || (h.Get(hProto) != "http" && h.Get(hProto) != "https") || !isPort(h.Get(hPort)) || h.Get(hPort) == "" {
		t.Fatalf("headers: %q", h)
	}
}
