package front

import (
	"crypto/tls"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// shake makes a handshake and returns what was agreed on.
func (h *harness) shake(c *tls.Config) (tls.ConnectionState, error) {
	c.InsecureSkipVerify = true //nolint:gosec // test
	if c.ServerName == "" {
		c.ServerName = "app.test"
	}
	conn, err := tls.Dial("tcp", h.https, c)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.ConnectionState(), nil
}

func TestWhatTLSIsOffered(t *testing.T) {
	h := start(t, Options{})
	h.set(routeTo(newBackend(t, "b", hello("b"))))
	h.front.Ready()

	s, err := h.shake(&tls.Config{NextProtos: []string{"h2", "http/1.1"}})
	if err != nil || s.Version != tls.VersionTLS13 || s.CurveID != tls.X25519MLKEM768 || s.NegotiatedProtocol != "h2" {
		t.Errorf("by default: version %x, curve %v, protocol %q, %v", s.Version, s.CurveID, s.NegotiatedProtocol, err)
	}
	// It is refused as such, and not only since no suite is left for it.
	if _, err := h.shake(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: %v", err)
	}
	if _, err := h.shake(&tls.Config{NextProtos: []string{"spdy/3"}}); err == nil {
		t.Error("an unknown protocol is accepted")
	}
	allowed := h.front.tlsConfig().CipherSuites
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if !slices.Contains(suite.SupportedVersions, tls.VersionTLS12) {
			continue
		}
		s, err := h.shake(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}})
		// The certificate is ECDSA, which the suites for RSA keys do not go with.
		if want := slices.Contains(allowed, suite.ID) && strings.Contains(suite.Name, "ECDHE_ECDSA"); (err == nil) != want {
			t.Errorf("%s: %v, want accepted %v", suite.Name, err, want)
		} else if err == nil && s.CipherSuite != suite.ID {
			t.Errorf("%s was asked for, %s agreed on", suite.Name, tls.CipherSuiteName(s.CipherSuite))
		}
	}
	if len(allowed) != 6 || slices.ContainsFunc(allowed, func(id uint16) bool {
		n := tls.CipherSuiteName(id)
		return !strings.HasPrefix(n, "TLS_ECDHE_") || !(strings.Contains(n, "GCM") || strings.Contains(n, "POLY1305"))
	}) {
		t.Errorf("suites: %v", allowed)
	}
	cache := tls.NewLRUClientSessionCache(1)
	for i := range 2 {
		s, err := h.shake(&tls.Config{ClientSessionCache: cache, MaxVersion: tls.VersionTLS12})
		if err != nil || s.DidResume != (i == 1) {
			t.Errorf("handshake %d: resumed %v, %v", i, s.DidResume, err)
		}
	}
}

func TestUnknownNamesAreRefusedInTheHandshake(t *testing.T) {
	h := start(t, Options{})
	h.set(routeTo(newBackend(t, "b", hello("b"))))
	h.front.Ready()
	if _, err := h.shake(&tls.Config{ServerName: "nobody.test"}); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("%v", err)
	}
	eventually(t, "it is counted", func() bool { return h.front.total.handshakes.Load() == 1 })
	// An address is no name: the only route there is answers.
	s, err := h.shake(&tls.Config{ServerName: "127.0.0.1"})
	if err != nil || s.PeerCertificates[0].VerifyHostname("app.test") != nil {
		t.Errorf("without a name: %v", err)
	}
}

func TestMisdirected(t *testing.T) {
	h := start(t, Options{})
	one, two := routeTo(newBackend(t, "one", hello("one"))), routeTo(newBackend(t, "two", hello("two")))
	two.Host = "other.test"
	h.set(one, two)
	h.front.Ready()
	c := h.client(true)
	for host, status := range map[string]int{"app.test": 200, "APP.test.:8443": 200, "other.test": 421, "nobody.test": 421, "a b": 400, "": 200} {
		r, _ := http.NewRequest(http.MethodGet, "https://app.test/", nil)
		r.Host = host
		res, err := c.Do(r)
		if err != nil {
			if host == "a b" {
				continue // the client itself may refuse to send it
			}
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != status {
			t.Errorf("%q: %d, want %d", host, res.StatusCode, status)
		}
	}
}

func TestHSTSOnlyWithALiveCertificate(t *testing.T) {
	certificates := &pairs{t: t}
	h := start(t, Options{Certificates: certificates})
	backend := newBackend(t, "b", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Strict-Transport-Security", "max-age=1")
		w.Header().Set("Alt-Svc", `h3=":8000"`)
	})
	for _, tt := range []struct {
		live bool
		hsts int
		want string
	}{{false, 31536000, ""}, {true, 31536000, "max-age=31536000"}, {true, 0, "max-age=1"}, {false, 0, ""}} {
		certificates.live.Store(tt.live)
		r := routeTo(backend)
		r.HSTS = tt.hsts
		h.set(r)
		res, err := h.client(true).Get("https://app.test/")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.Header.Get("Alt-Svc") != "" || res.Header.Get("Server") != "" {
			t.Errorf("headers: %v", res.Header)
		}
		if got := strings.Join(res.Header["Strict-Transport-Security"], "|"); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

// TestACertificateThatIsOverTakesHSTSAway also on connections that stay open.
func TestACertificateThatIsOverTakesHSTSAway(t *testing.T) {
	certificates := &pairs{t: t}
	certificates.live.Store(true)
	h := start(t, Options{Certificates: certificates})
	r := routeTo(newBackend(t, "b", hello("b")))
	r.HSTS = 60
	h.set(r)
	c := h.client(true)
	mustGet(t, c, "https://app.test/", 200, "b")
	certificates.live.Store(false)
	eventually(t, "the header is gone", func() bool {
		res, err := c.Get("https://app.test/")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.Header.Get("Strict-Transport-Security") == ""
	})
}

func TestPlainHTTP(t *testing.T) {
	challenge := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	h := start(t, Options{HTTPSPort: 8443, ACME: challenge})
	asked := make(chan struct{}, 100)
	to, not := routeTo(newBackend(t, "b", func(http.ResponseWriter, *http.Request) { asked <- struct{}{} })), routeTo()
	to.RedirectHTTP = true
	not.Host = "closed.test"
	h.set(to, not)
	h.front.Ready()
	c := h.client(false)
	for _, tt := range []struct {
		method, url, location string
		status                int
	}{
		{"GET", "http://app.test/a%2Fb?c=d", "https://app.test:8443/a%2Fb?c=d", 301},
		{"HEAD", "http://APP.test:80//evil.test", "https://app.test:8443//evil.test", 301},
		{"POST", "http://app.test/", "https://app.test:8443/", 308},
		{"GET", "http://closed.test/", "", 403},
		{"GET", "http://nobody.test/", "", 404},
		{"GET", "http://nobody.test/.well-known/acme-challenge/x", "", 418},
	} {
		r, _ := http.NewRequest(tt.method, tt.url, nil)
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != tt.status || res.Header.Get("Location") != tt.location {
			t.Errorf("%s %s: %d %q", tt.method, tt.url, res.StatusCode, res.Header.Get("Location"))
		}
	}
	if len(asked) > 0 {
		t.Error("a request in the clear came to a container")
	}
}

// TestAuthorityIsShownItsCertificate answers acme-tls/1 for a name that has no
// route, and nobody else with it.
func TestAuthorityIsShownItsCertificate(t *testing.T) {
	proof := makePair(t, "proof.test")
	h := start(t, Options{ACMECertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, bool) {
		if !slices.Equal(hello.SupportedProtos, []string{"acme-tls/1"}) {
			return nil, false
		}
		if hello.ServerName != "proof.test" {
			return nil, true
		}
		return proof, true
	}})
	h.set(routeTo(newBackend(t, "b", hello("b"))))

	s, err := h.shake(&tls.Config{ServerName: "proof.test", NextProtos: []string{"acme-tls/1"}})
	if err != nil || s.NegotiatedProtocol != "acme-tls/1" || s.PeerCertificates[0].VerifyHostname("proof.test") != nil {
		t.Errorf("the authority: protocol %q, %v", s.NegotiatedProtocol, err)
	}
	if _, err := h.shake(&tls.Config{ServerName: "app.test", NextProtos: []string{"acme-tls/1"}}); err == nil {
		t.Error("an authority without a challenge is shown a certificate")
	}
	s, err = h.shake(&tls.Config{NextProtos: []string{"h2", "http/1.1", "acme-tls/1"}})
	if err != nil || s.NegotiatedProtocol != "h2" || s.PeerCertificates[0].VerifyHostname("app.test") != nil {
		t.Errorf("a browser: protocol %q, %v", s.NegotiatedProtocol, err)
	}
	mustGet(t, h.client(true), "https://app.test/", 200, "b")
	none := start(t, Options{})
	none.set(routeTo(newBackend(t, "c", hello("c"))))
	if s, err := none.shake(&tls.Config{NextProtos: []string{"acme-tls/1"}}); err == nil {
		t.Errorf("without the hook it negotiates %q", s.NegotiatedProtocol)
	}
}
