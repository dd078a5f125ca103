package acme

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// lives is a certificate that lives so long from noon.
func lives(d time.Duration) *x509.Certificate {
	return &x509.Certificate{NotBefore: noon, NotAfter: noon.Add(d), Raw: []byte(d.String())}
}

func TestWhenToRenew(t *testing.T) {
	const day = 24 * time.Hour
	says := func(start, end, at time.Duration) *window {
		return &window{Start: noon.Add(start), End: noon.Add(end), Selected: noon.Add(at)}
	}
	for _, c := range []struct {
		name     string
		life     time.Duration
		fraction float64
		window   *window
		from, to time.Duration // after noon
	}{
		{"90 days after two thirds", 90 * day, 0, nil, 55 * day, 60 * day},
		{"45 days after two thirds", 45 * day, 0, nil, 27 * day, 30 * day},
		{"160 hours after half", 160 * time.Hour, 0, nil, 72 * time.Hour, 80 * time.Hour},
		{"60 seconds after half", time.Minute, 0, nil, 27 * time.Second, 30 * time.Second},
		{"a fraction of one's own", 100 * day, 0.4, nil, 35 * day, 40 * day},
		{"a fraction that is too late", 100 * day, 0.95, nil, 90 * day, 90 * day},
		{"as the authority says", 90 * day, 0, says(20*day, 22*day, 21*day), 21 * day, 21 * day},
		{"revoked: at once", 90 * day, 0, says(time.Hour, 2*time.Hour, 90*time.Minute), 6 * time.Hour, 6 * time.Hour},
		{"a window in the past does not renew without end", 90 * day, 0, says(-10*day, -9*day, -9*day), 6 * time.Hour, 6 * time.Hour},
		{"a window after the end is not waited for", 90 * day, 0, says(95*day, 99*day, 96*day), 81 * day, 81 * day},
		{"a window around the whole life says nothing", time.Hour, 0, says(-day, day, -3*time.Hour), 27 * time.Minute, 30 * time.Minute},
	} {
		at := renewAt(lives(c.life), c.fraction, c.window).Sub(noon)
		if at < c.from || at > c.to {
			t.Errorf("%s: after %s, want %s to %s", c.name, at, c.from, c.to)
		}
	}
}

// TestRenewInTime holds for whatever an authority issues and suggests: a renewal
// is within the life, and never so soon that it repeats at once.
func TestRenewInTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leaf := lives(time.Duration(rapid.Int64Range(10, 400*86400).Draw(t, "life")) * time.Second)
		var w *window
		if rapid.Bool().Draw(t, "suggested") {
			at := func(what string) time.Time {
				return noon.Add(time.Duration(rapid.Int64Range(-500*86400, 500*86400).Draw(t, what)) * time.Second)
			}
			w = &window{Start: at("start"), End: at("end"), Selected: at("selected")}
		}
		at := renewAt(leaf, rapid.Float64Range(0.1, 0.95).Draw(t, "fraction"), w)
		if at.After(leaf.NotAfter.Add(-life(leaf) / 10)) {
			t.Fatalf("at %s, in the last tenth before %s", at, leaf.NotAfter)
		}
		if at.Before(leaf.NotBefore.Add(min(life(leaf)/21, 6*time.Hour))) {
			t.Fatalf("at %s, at once after %s", at, leaf.NotBefore)
		}
	})
}

func TestBackoff(t *testing.T) {
	opts := defaults()
	st, now := &state{}, noon
	for i, want := range []time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour, 6 * time.Hour} {
		st.begin("ca", now, opts.Backoff)
		if got := st.next("ca", now, false).Sub(now); got != want {
			t.Errorf("begun, not ended, %d: waits %s, want %s", i, got, want)
		}
		now = now.Add(time.Second)
		st.failed("ca", now, errors.New("no"), time.Time{}, opts.Backoff)
		if got := st.next("ca", now, false).Sub(now); got != want {
			t.Errorf("failure %d: waits %s, want %s", i, got, want)
		}
	}
	if got := st.next("ca", now, true).Sub(now); got > urgentRetry {
		t.Errorf("in a hurry it waits %s", got)
	}
	for said, want := range map[time.Duration]time.Duration{time.Second: time.Minute, 3 * time.Hour: 3 * time.Hour, 1000 * time.Hour: week} {
		st.failed("ca", now, errors.New("429"), now.Add(said), opts.Backoff)
		if got := st.next("ca", now, true).Sub(now); got != want {
			t.Errorf("told to wait %s it waits %s, want %s", said, got, want)
		}
	}
	if n := len(st.recent(now)); n != 7 {
		t.Errorf("%d orders in the week, want 7", n)
	}
	if n := len(st.recent(now.Add(8 * 24 * time.Hour))); n != 0 {
		t.Errorf("%d orders a week later", n)
	}
	// A clock that was a year ahead must not stop anything for a year.
	if next := st.next("ca", now.Add(-365*24*time.Hour), false); !next.IsZero() {
		t.Errorf("after the clock went back it waits until %s", next)
	}
	if n := len(st.recent(now.Add(-365 * 24 * time.Hour))); n != 0 {
		t.Errorf("after the clock went back %d orders count", n)
	}
}

func TestAChangedRequestIsTriedAgain(t *testing.T) {
	req := Request{Name: "a", Domains: []string{"a.test"}, Issuers: []Issuer{{Directory: "https://ca.test", EAB: &EAB{"k", "one"}}}}
	st := &state{Tries: map[string]*tries{"x": {Failed: 3}, "y": {Failed: 1, Said: true}}}
	st.adopt(req.digest())
	if st.Tries["x"] != nil || st.Tries["y"] == nil {
		t.Errorf("tries %v: what the authority said stays, the rest goes", st.Tries)
	}
	before := req.digest()
	req.Issuers[0].EAB = &EAB{"k", "two"}
	if req.digest() == before {
		t.Error("another key of the binding is no change")
	}
}

// TestOrdersInAWeek leaves room for lives of hours, and stops a loop.
func TestOrdersInAWeek(t *testing.T) {
	for d, want := range map[time.Duration]int{90 * 24 * time.Hour: 50, 160 * time.Hour: 50, time.Hour: 1008, 24 * time.Hour: 50} {
		if got := allowed(50, lives(d), 0); got != want {
			t.Errorf("life %s: %d orders, want %d", d, got, want)
		}
	}
}

func TestRequestsAreChecked(t *testing.T) {
	good := func() Request {
		return Request{Name: "data", Domains: []string{"b.test", "a.test", "b.test", "2001:db8::1"}, Issuers: []Issuer{{Directory: "https://ca.test/dir"}}}
	}
	r := good()
	if err := r.check(); err != nil || strings.Join(r.Domains, " ") != "2001:db8::1 a.test b.test" || r.Key != P256 || len(r.Challenges) != 2 {
		t.Errorf("%v: %+v", err, r)
	}
	for want, change := range map[string]func(*Request){
		"name:":                        func(r *Request) { r.Name = "../data" },
		"there are 0":                  func(r *Request) { r.Domains = nil },
		"neither an address nor":       func(r *Request) { r.Domains = []string{"Data.test"} },
		"*.a.test can be proved by":    func(r *Request) { r.Domains = []string{"*.a.test"} },
		"none is named":                func(r *Request) { r.Issuers = nil },
		"is no https URL":              func(r *Request) { r.Issuers[0].Directory = "http://ca.test/dir" },
		"needs a key ID and a MAC key": func(r *Request) { r.Issuers[0].EAB = &EAB{KeyID: "k"} },
		"no PEM certificate":           func(r *Request) { r.Issuers[0].Roots = []byte("<html>") },
		"needs a DNS provider":         func(r *Request) { r.Challenges = []string{DNS01} },
		`"tls-sni-01" is none of`:      func(r *Request) { r.Challenges = []string{"tls-sni-01"} },
		`"ed25519" is none of`:         func(r *Request) { r.Key = "ed25519" },
		"fraction:":                    func(r *Request) { r.Fraction = 1 },
	} {
		r := good()
		change(&r)
		if err := r.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestRefuseWhatWasIssued takes no certificate that cannot be served.
func TestRefuseWhatWasIssued(t *testing.T) {
	for want, c := range map[string]struct {
		cert  *x509.Certificate
		other bool
	}{
		"":                 {cert: &x509.Certificate{DNSNames: []string{"a.test"}}},
		"for [b.test]":     {cert: &x509.Certificate{DNSNames: []string{"b.test"}}},
		"for an authority": {cert: &x509.Certificate{DNSNames: []string{"a.test"}, IsCA: true}},
		"ran out at":       {cert: &x509.Certificate{DNSNames: []string{"a.test"}, NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(-time.Minute)}},
		"not fit its key":  {cert: &x509.Certificate{DNSNames: []string{"a.test"}}, other: true},
	} {
		if c.cert.NotAfter.IsZero() {
			c.cert.NotBefore, c.cert.NotAfter = noon, noon.Add(time.Hour)
		}
		key, made := signed(t, c.cert, nil, nil)
		text, err := encodeKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if c.other {
			if text, err = encodeKeyOf(P256); err != nil {
				t.Fatal(err)
			}
		}
		r := &record{Chain: string(pemOf(made)), Key: string(text)}
		err = r.accept([]string{"a.test"}, noon)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestChooseAmongChains takes the chain that ends where one wants it to.
func TestChooseAmongChains(t *testing.T) {
	var chains []acme.Certificate
	for _, root := range []string{"old root", "new root"} {
		caKey, ca := signed(t, &x509.Certificate{IsCA: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: root}}, nil, nil)
		midKey, mid := signed(t, &x509.Certificate{IsCA: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "between"}}, ca, caKey)
		_, last := signed(t, &x509.Certificate{DNSNames: []string{"a.test"}}, mid, midKey)
		chains = append(chains, acme.Certificate{ChainPEM: append(pemOf(last), pemOf(mid)...)})
	}
	for root, want := range map[string]int{"": 0, "new root": 1, "old root": 0, "no such root": 0} {
		if got := choose(chains, root); string(got) != string(chains[want].ChainPEM) {
			t.Errorf("%q: not the chain %d", root, want)
		}
	}
}

// TestChallengesAreForTheirName answers nobody who asks under another name.
func TestChallengesAreForTheirName(t *testing.T) {
	c := &challenges{}
	chal := acme.Challenge{Type: "http-01", Token: "tok", KeyAuthorization: "tok.print", Identifier: acme.Identifier{Type: "dns", Value: "a.test"}}
	six := acme.Challenge{Type: "http-01", Token: "six", KeyAuthorization: "six.print", Identifier: acme.Identifier{Type: "ip", Value: "2001:db8::1"}}
	for _, x := range []acme.Challenge{chal, six} {
		if err := (httpSolver{c}).Present(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
	for _, q := range []struct {
		method, host, path string
		code               int
		body               string
	}{
		{"GET", "a.test", challengePath + "tok", 200, "tok.print"},
		{"GET", "A.test.:80", challengePath + "tok", 200, "tok.print"},
		{"GET", "[2001:db8:0::1]:80", challengePath + "six", 200, "six.print"},
		{"GET", "b.test", challengePath + "tok", 404, ""},
		{"GET", "a.test", challengePath + "other", 404, ""},
		{"GET", "a.test", challengePath, 404, ""},
		{"GET", "a.test", "/tok", 404, ""},
		{"POST", "a.test", challengePath + "tok", 404, ""},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(q.method, "http://x"+q.path, nil)
		r.Host = q.host
		c.ServeHTTP(w, r)
		if w.Code != q.code || (q.code == http.StatusOK && w.Body.String() != q.body) {
			t.Errorf("%s %s%s: %d %q", q.method, q.host, q.path, w.Code, w.Body)
		}
	}
	alpn, other := chal, chal
	other.Token, other.KeyAuthorization = "tok2", "tok2.print"
	for _, x := range []acme.Challenge{alpn, other} { // two orders prove one name
		if err := (alpnSolver{c}).Present(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
	show := func(name string, protos ...string) (bool, bool) {
		cert, is := c.certificate(&tls.ClientHelloInfo{ServerName: name, SupportedProtos: protos})
		return cert != nil, is
	}
	for range 2 {
		if shown, is := show("A.test", Protocol); !shown || !is {
			t.Error("the authority is shown nothing")
		}
		if err := (alpnSolver{c}).CleanUp(t.Context(), other); err != nil {
			t.Fatal(err)
		}
	}
	if shown, is := show("b.test", Protocol); shown || !is {
		t.Error("a name without a challenge is shown a certificate")
	}
	if shown, is := show("a.test", "h2", Protocol); shown || is {
		t.Error("a browser is taken for an authority")
	}
}

// FuzzChallengePath takes what anybody may send to port 80.
func FuzzChallengePath(f *testing.F) {
	f.Add("a.test", challengePath+"tok")
	f.Add("[::1]:80", challengePath+"tok")
	f.Add("a.test:", "//.well-known/acme-challenge/tok")
	f.Fuzz(func(t *testing.T, host, path string) {
		c := &challenges{tokens: map[string]acme.Challenge{"tok": {Token: "tok", KeyAuthorization: "secret", Identifier: acme.Identifier{Type: "dns", Value: "a.test"}}}}
		r := httptest.NewRequest(http.MethodGet, "http://x/", nil)
		r.Host, r.URL.Path = host, path
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		if w.Code == http.StatusOK && (path != challengePath+"tok" || !strings.HasPrefix(strings.ToLower(strings.Trim(host, "[]")), "a.test")) {
			t.Errorf("%q %q is answered", host, path)
		}
	})
}

// FuzzRetryAfter takes what an authority may send.
func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"120", "Sun, 22 Nov 2026 12:00:00 GMT", "-1", "99999999999999999999", "soon", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		at, ok := retryAfter(&http.Response{Header: http.Header{"Retry-After": {header}}}, noon)
		if !ok {
			return
		}
		st := &state{}
		st.begin("ca", noon, []time.Duration{time.Minute})
		st.failed("ca", noon, errors.New("429"), at, []time.Duration{time.Minute})
		if wait := st.next("ca", noon, false).Sub(noon); wait < time.Minute || wait > longestWait {
			t.Errorf("%q: waits %s", header, wait)
		}
	})
}
