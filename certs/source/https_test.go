package source_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs/source"
	"github.com/fairlead/fairlead/reconciler"
)

func TestHTTPSGivesChainsAndVersions(t *testing.T) {
	chain, _ := pair(t)
	f := newFake(t, true)
	date := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	tag := `"one"`
	f.on("/chain.pem", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", date.Format(http.TimeFormat))
		w.Header().Set("Age", "60")
		if tag != "" {
			w.Header().Set("ETag", tag)
		}
		if tag != "" && r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(chain)
	})
	s := source.New(source.Options{AllowedHosts: []string{f.host()}}).For(source.Use{CA: f.ca()})
	url := f.URL + "/chain.pem?token=hush"
	b := get(t, s, url, "")
	if !bytes.Equal(b.Data, chain) || !b.Date.Equal(date.Add(time.Minute)) || b.Source != f.URL+"/chain.pem" {
		t.Errorf("%d bytes of %s at %v", len(b.Data), b.Source, b.Date)
	}
	if again := get(t, s, url, b.Version); !again.NotModified || again.Version != b.Version || again.Date.IsZero() {
		t.Errorf("the same again: %+v", again)
	}
	if other := get(t, s, f.URL+"/chain.pem?token=other", b.Version); other.NotModified {
		t.Error("the version of one URL counts for another")
	}
	tag = `"two"` // another validator, the same bytes
	if again := get(t, s, url, b.Version); !again.NotModified || again.Version == b.Version {
		t.Errorf("the same bytes under another tag: %+v", again)
	}
	tag = ""
	if again := get(t, s, url, b.Version); !again.NotModified {
		t.Error("the same bytes without a tag count as new")
	}
	old := b.Version
	chain, _ = pair(t)
	tag = `"one"`
	f.on("/chain.pem", func(w http.ResponseWriter, r *http.Request) { // a server that forgot to change its tag
		w.Header().Set("ETag", tag)
		_, _ = w.Write(chain)
	})
	if b = get(t, s, url, old); b.NotModified || !bytes.Equal(b.Data, chain) {
		t.Error("other bytes under the old tag count as the old ones")
	}
}

func TestHTTPSTrust(t *testing.T) {
	chain, _ := pair(t)
	f := newFake(t, true)
	f.says("/c", 200, string(chain))
	hosts := []string{f.host()}
	plain := source.New(source.Options{AllowedHosts: hosts})
	fails(t, plain.For(source.Use{}), f.URL+"/c", source.ErrUnreachable, "unknown authority", "fetch.caFile")
	get(t, source.New(source.Options{AllowedHosts: hosts, CAFile: write(t, "ca.pem", f.ca(), 0o644)}).For(source.Use{}), f.URL+"/c", "")
	fails(t, source.New(source.Options{AllowedHosts: hosts, CAFile: write(t, "ca.pem", []byte("x"), 0o644)}).For(source.Use{}), f.URL+"/c", source.ErrRefused, "ca.pem", "no certificate")

	sum := sha256.Sum256(f.Certificate().RawSubjectPublicKeyInfo)
	right, wrong := "sha256/"+base64.StdEncoding.EncodeToString(sum[:]), "sha256/"+base64.StdEncoding.EncodeToString(make([]byte, 32))
	get(t, plain.For(source.Use{CA: f.ca(), Pins: []string{wrong, right}}), f.URL+"/c", "")
	fails(t, plain.For(source.Use{CA: f.ca(), Pins: []string{wrong}}), f.URL+"/c", source.ErrForbidden, "pinned", right)
	err := fails(t, plain.For(source.Use{CA: f.ca(), Pins: []string{"sha256/x"}}), f.URL+"/c", source.ErrRefused, "pin")
	if !reconciler.IsTerminal(err) {
		t.Error("a pin that is none mends by itself")
	}
	fails(t, plain.For(source.Use{Pins: []string{right}}), f.URL+"/c", source.ErrUnreachable, "unknown authority") // a pin replaces no trust
}

func TestHTTPSRefusesAnswers(t *testing.T) {
	chain, key := pair(t)
	f := newFake(t, true)
	s := source.New(source.Options{AllowedHosts: []string{f.host()}, Timeout: 10 * time.Second}).For(source.Use{CA: f.ca()})
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		class  error
		words  []string
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://other.acme.com/x?sig=hush", http.StatusFound)
		}, source.ErrFailed, []string{"redirects (302) to other.acme.com"}},
		"unchanged":  {code(304), source.ErrFailed, []string{"304", "was not told"}},
		"page":       {said("<!doctype html><p>Log in"), source.ErrWrongKind, []string{"HTML"}},
		"empty":      {said(""), source.ErrWrongKind, []string{"nothing"}},
		"json":       {said(`{"a": 1}`), source.ErrWrongKind, []string{"JSON"}},
		"der":        {said("0\x82\x01\x02"), source.ErrWrongKind, []string{"DER"}},
		"request":    {said("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"), source.ErrWrongKind, []string{"signing request"}},
		"half":       {said(string(chain[:len(chain)/2])), source.ErrWrongKind, []string{"cut off"}},
		"key":        {said(string(key)), source.ErrKeyInChain, []string{"private key", "replace the key"}},
		"key behind": {said(string(chain) + string(key)), source.ErrKeyInChain, nil},
		"half a key": {said(string(chain) + string(key[:len(key)-10])), source.ErrKeyInChain, nil},
		"huge":       {said(strings.Repeat("A", source.MaxSize+1)), source.ErrTooLarge, []string{"1048576"}},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			for range 40 {
				_, _ = w.Write(make([]byte, 64<<10))
				w.(http.Flusher).Flush()
			}
		}, source.ErrTooLarge, nil},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5000")
			_, _ = w.Write(chain)
		}, source.ErrUnreachable, []string{"cut off"}},
		"compressed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(chain)
		}, source.ErrWrongKind, []string{"compressed"}},
		"headers": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 40<<10))
			_, _ = w.Write(chain)
		}, source.ErrUnreachable, []string{"header"}},
		"404":         {code(404), source.ErrNotFound, []string{"404"}},
		"410":         {code(410), source.ErrNotFound, nil},
		"401":         {code(401), source.ErrForbidden, []string{"bearer"}},
		"403":         {code(403), source.ErrForbidden, nil},
		"418":         {code(418), source.ErrFailed, nil},
		"500":         {code(500), source.ErrUnreachable, []string{"500"}},
		"204":         {code(204), source.ErrFailed, nil},
		"304 unasked": {code(304), source.ErrFailed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f.on("/c", c.answer)
			hides(t, fails(t, s, f.URL+"/c?t=secretquery", c.class, c.words...), "secretquery", "hush", "BEGIN")
		})
	}
	f.on("/c", code(500))
	if b, err := s.Fetch(t.Context(), f.URL+"/c", ""); err == nil || b.Version != "" {
		t.Errorf("version %q of no content", b.Version)
	}
	f.on("/c", said(string(key)))
	if b, err := s.Fetch(t.Context(), f.URL+"/c", ""); !errors.Is(err, source.ErrWrongKind) || b.Version == "" {
		t.Errorf("what is refused for its content has version %q, error %v", b.Version, err)
	}
}

func said(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

func code(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func TestHTTPSTriesTwice(t *testing.T) {
	chain, _ := pair(t)
	f := newFake(t, true)
	s := source.New(source.Options{AllowedHosts: []string{f.host()}}).For(source.Use{CA: f.ca()})
	for name, first := range map[string]http.HandlerFunc{
		"bad gateway": code(502),
		"torn":        func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		n := 0
		f.on("/c", func(w http.ResponseWriter, r *http.Request) {
			if n++; n == 1 {
				first(w, r)
				return
			}
			_, _ = w.Write(chain)
		})
		if get(t, s, f.URL+"/c", ""); n != 2 {
			t.Errorf("%s: asked %d times", name, n)
		}
	}
	f.on("/c", code(503))
	before := f.count("GET /c")
	if fails(t, s, f.URL+"/c", source.ErrUnreachable); f.count("GET /c")-before != 2 {
		t.Errorf("asked %d times", f.count("GET /c")-before)
	}
}

func TestHTTPSIsLimited(t *testing.T) {
	f := newFake(t, true)
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	s := source.New(source.Options{AllowedHosts: []string{f.host()}, Now: func() time.Time { return now }}).For(source.Use{CA: f.ca()})
	for _, c := range []struct {
		status int
		header string
		want   time.Duration
	}{
		{429, "90", 90 * time.Second}, {503, "90", 90 * time.Second}, {429, "", time.Minute}, {429, "0", time.Second},
		{429, "99999999", time.Hour}, {429, "soon", time.Minute}, {429, now.Add(5 * time.Minute).Format(http.TimeFormat), 5 * time.Minute},
		{503, now.Add(100 * time.Hour).Format(http.TimeFormat), time.Hour},
	} {
		before := f.count("GET /c")
		f.says("/c", c.status, "", "Retry-After", c.header)
		waits(t, fails(t, s, f.URL+"/c", source.ErrUnreachable, "limits"), c.want)
		if n := f.count("GET /c") - before; n != 1 {
			t.Errorf("%d %q: asked %d times", c.status, c.header, n)
		}
	}
}

func TestHTTPSDripsInVain(t *testing.T) {
	f := newFake(t, true)
	stop := make(chan struct{})
	defer close(stop)
	f.on("/c", func(w http.ResponseWriter, r *http.Request) {
		for {
			_, _ = w.Write([]byte("-"))
			w.(http.Flusher).Flush()
			select {
			case <-time.After(10 * time.Millisecond):
			case <-stop:
				return
			case <-r.Context().Done():
				return
			}
		}
	})
	s := source.New(source.Options{AllowedHosts: []string{f.host()}, Timeout: 300 * time.Millisecond}).For(source.Use{CA: f.ca()})
	fails(t, s, f.URL+"/c", source.ErrUnreachable, "in time")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Fetch(ctx, f.URL+"/c", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("a fetch that was given up says %v", err)
	}
}

func TestHTTPSHosts(t *testing.T) {
	f := newFake(t, true)
	chain, _ := pair(t)
	f.says("/c", 200, string(chain))
	_, port, _ := net.SplitHostPort(f.host())
	use := source.Use{CA: f.ca()}
	for name, c := range map[string]struct {
		allowed []string
		ref     string
		words   []string // of the refusal; none: it is fetched
	}{
		"listed":                {[]string{"pki.acme.com", f.host()}, f.URL + "/c", nil},
		"not listed":            {[]string{"pki.acme.com"}, f.URL + "/c", []string{"allowedHosts", f.host()}},
		"other port":            {[]string{"127.0.0.1"}, f.URL + "/c", []string{"allowedHosts"}},
		"none listed":           {nil, f.URL + "/c", []string{"443"}},
		"loopback":              {nil, "https://127.0.0.1/c", []string{"this machine"}},
		"loopback mapped":       {nil, "https://[::ffff:127.0.0.1]/c", []string{"this machine"}},
		"loopback by name":      {nil, "https://localhost/c", []string{"this machine"}},
		"loopback by wildcard":  {[]string{"*.0.0.1:" + port}, f.URL + "/c", []string{"this machine"}},
		"metadata":              {[]string{"169.254.169.254"}, "https://169.254.169.254/c", []string{"never asked"}},
		"metadata mapped":       {[]string{"::ffff:169.254.169.254"}, "https://[::ffff:169.254.169.254]/c", []string{"never asked"}},
		"metadata by NAT64":     {nil, "https://[64:ff9b::a9fe:a9fe]/c", []string{"never asked"}},
		"link-local":            {nil, "https://[fe80::1]/c", []string{"never asked"}},
		"metadata of AWS":       {[]string{"fd00:ec2::254"}, "https://[fd00:ec2::254]/c", []string{"never asked"}},
		"unspecified":           {[]string{"0.0.0.0"}, "https://0.0.0.0/c", []string{"never asked"}},
		"Azure's wire server":   {nil, "https://168.63.129.16/c", []string{"never asked"}},
		"another form of lower": {[]string{"LOCALHOST:" + port}, "https://LocalHost:" + port + "/c", []string{"x509"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := source.New(source.Options{AllowedHosts: c.allowed}).For(use)
			if c.words == nil {
				get(t, s, c.ref, "")
				return
			}
			class := source.ErrRefused
			if c.words[0] == "x509" { // it got through to the certificate
				class = source.ErrUnreachable
			}
			fails(t, s, c.ref, class, c.words...)
		})
	}
}

// TestHTTPSResolvesOnce has names lead to forbidden addresses.
func TestHTTPSLooksAtWhatNamesResolveTo(t *testing.T) {
	for _, c := range []struct{ addr, word string }{
		{"169.254.169.254", "never asked"}, {"127.0.0.1", "this machine"}, {"0.0.0.0", "never asked"}, {"100.100.100.200", "never asked"},
		{"224.0.0.1", "never asked"}, {"255.255.255.255", "never asked"},
	} {
		dns := nameServer(t, net.ParseIP(c.addr))
		for _, allowed := range [][]string{nil, {"*.acme.com"}} {
			s := source.New(source.Options{Resolver: dns, AllowedHosts: allowed}).For(source.Use{})
			fails(t, s, "https://pki.acme.com/c", source.ErrRefused, c.word, c.addr)
		}
	}
}

// nameServer answers every question for an IPv4 address with addr.
func nameServer(t *testing.T, addr net.IP) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(dnsAnswer(buf[:n], addr.To4()), from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// dnsAnswer is an answer as RFC 1035 section 4 has it.
func dnsAnswer(q []byte, addr []byte) []byte {
	end := 12 + bytes.IndexByte(q[12:], 0) + 5
	v4 := q[end-3] == 1
	out := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
	if v4 {
		out[7] = 1
		out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
		out = append(out, addr...)
	}
	return out
}

func TestHTTPSBearer(t *testing.T) {
	chain, key := pair(t)
	f := newFake(t, true)
	f.on("/k", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t0psecret" {
			w.WriteHeader(401)
			_, _ = fmt.Fprint(w, r.Header.Get("Authorization"))
			return
		}
		_, _ = w.Write(key)
	})
	f.says("/c", 200, string(chain))
	value := "t0psecret\n"
	client := source.New(source.Options{AllowedHosts: []string{f.host()}, Secret: func(_ context.Context, name string) (string, error) {
		if name != "PKI" {
			return "", errors.New("t0psecret is not for you")
		}
		return value, nil
	}})
	use := source.Use{Field: source.Key, CA: f.ca(), Bearer: "PKI", KeyOverHTTPS: true}
	if b := get(t, client.For(use), f.URL+"/k", ""); !bytes.Equal(b.Data, key) {
		t.Error("another key")
	}
	shy := use
	shy.KeyOverHTTPS = false
	if err := fails(t, client.For(shy), f.URL+"/k", source.ErrRefused, "private key"); !reconciler.IsTerminal(err) {
		t.Error("that mends by itself")
	}
	open := use
	open.Bearer = ""
	fails(t, client.For(open), f.URL+"/k", source.ErrRefused, "bearer")
	other := use
	other.Bearer = "NONE"
	hides(t, fails(t, client.For(other), f.URL+"/k", source.ErrRefused, "NONE"), "t0psecret")
	fails(t, client.For(use), f.URL+"/c", source.ErrWrongKind, "got certificates")
	value = "wr0ngsecret"
	hides(t, fails(t, client.For(use), f.URL+"/k", source.ErrForbidden, "PKI"), "wr0ngsecret")
	value = "two\nlines"
	hides(t, fails(t, client.For(use), f.URL+"/k", source.ErrRefused, "characters"), "two")
	bare := source.New(source.Options{AllowedHosts: []string{f.host()}})
	fails(t, bare.For(use), f.URL+"/k", source.ErrRefused, "no secrets")
	use.Token = "t0psecret"
	if b := get(t, bare.For(use), f.URL+"/k", ""); !bytes.Equal(b.Data, key) {
		t.Error("another key by a token that is given")
	}
	use.Token = "wr0ngsecret"
	hides(t, fails(t, bare.For(use), f.URL+"/k", source.ErrForbidden, "PKI"), "wr0ngsecret")
}
