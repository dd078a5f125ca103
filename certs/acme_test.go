package certs_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/certs"
	"github.com/fairlead/fairlead/certs/acme"
	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/ports"
	"github.com/fairlead/fairlead/reconciler"
)

// pebble is the ACME authority that Let's Encrypt makes for tests.
type pebble struct {
	directory string
	server    []byte // the root of its web server
	root      []byte // the root of what it issues
}

func newPebble(t *testing.T, httpPort, tlsPort string) pebble {
	t.Helper()
	dir, ca := t.TempDir(), newAuthority(t, time.Now())
	key := newKey(t)
	write(t, keyPEM(t, key), dir, "key.pem")
	write(t, pemOf(ca.issue(key.Public(), time.Now().Add(-time.Hour), time.Now().Add(day), "127.0.0.1"), ca.ca), dir, "cert.pem")
	listen, manage := ports.Address(t), ports.Address(t)
	conf, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": manage, "certificate": filepath.Join(dir, "cert.pem"),
		"privateKey": filepath.Join(dir, "key.pem"), "httpPort": number(t, httpPort), "tlsPort": number(t, tlsPort),
		"retryAfter": map[string]int{"authz": 1, "order": 1}, "keyAlgorithm": "ecdsa",
		"profiles": map[string]any{"default": map[string]any{"description": "default", "validityPeriod": 90 * 24 * 3600}},
	}})
	must(t, err)
	write(t, conf, dir, "pebble.json")
	cmd := exec.Command(pebbleBinary(t), "-strict", "-config", filepath.Join(dir, "pebble.json"), "-dnsserver", newResolver(t))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Pebble said:\n%s", said.Bytes()[max(0, said.Len()-3000):])
		}
	})
	p := pebble{directory: "https://" + listen + "/dir", server: pemOf(ca.root)}
	eventually(t, "Pebble answers", func() bool { p.root = get(t, "https://"+manage+"/roots/0", p.server); return len(p.root) > 0 })
	return p
}

func pebbleBinary(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	must(t, err)
	file := filepath.Join(cache, "fairlead", "pebble-v2.10.1")
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("Pebble is missing, run scripts/pebble.sh: %v", err)
	}
	return file
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

// get returns a page, or nothing.
func get(t *testing.T, url string, root []byte) []byte {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil
	}
	return data
}

// newResolver is a name server by which every name is this machine.
func newResolver(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	started := make(chan struct{})
	srv := &dns.Server{Listener: l, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(m) // who asked will ask again
	})}
	go func() { _ = srv.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = srv.Shutdown() })
	return l.Addr().String()
}

// challenged listens where the authority comes to, and answers with what the
// Manager of the moment has.
func challenged(t *testing.T, m func() *certs.Manager) (httpPort, tlsPort string) {
	t.Helper()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	secure, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{NextProtos: []string{acme.Protocol},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c, is := m().ChallengeCertificate(hello); is {
				return c, nil
			}
			c, _, err := m().Certificate(inst, name, domain)
			return c, err
		}})
	must(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m().HTTPHandler().ServeHTTP(w, r) })}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(plain) })
	wg.Go(func() { echo(secure, &wg) })
	t.Cleanup(func() { _, _ = srv.Close(), secure.Close(); wg.Wait() })
	_, httpPort, _ = net.SplitHostPort(plain.Addr().String())
	_, tlsPort, _ = net.SplitHostPort(secure.Addr().String())
	return httpPort, tlsPort
}

// By ACME: a stand-in first, then what a real authority issues, by the same
// checks as everything else; renewed under load; and gone back from for good.
func TestACME(t *testing.T) {
	t.Parallel()
	var h *host
	current := func() *certs.Manager {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.Manager
	}
	h = newHost(t, func(h *host) { h.opts.Every = 50 * time.Millisecond })
	httpPort, tlsPort := challenged(t, current)
	p := newPebble(t, httpPort, tlsPort)
	spec := desired.CertificateSpec{
		Domains: []string{domain, "www.acme.com"}, Fallback: "self-signed", CA: string(p.server),
		ACME: &desired.ACMESpec{Issuers: []desired.ACMEIssuer{{Directory: p.directory, Email: "ops@acme.com", Profile: "default"}}},
	}
	h.want(spec)
	if !h.NeedsChallenges() {
		t.Error("it needs no challenges")
	}
	h.sync()
	if !pair.IsSelfSigned(h.leaf()) {
		t.Error("no stand-in is served")
	}
	h.run()
	eventually(t, "what is issued to an unknown root is refused", func() bool { return h.status().Reason == "ChainIncomplete" })
	h.once(certs.ReasonRefused, "neither in the document nor trusted")
	spec.CA = string(p.server) + string(p.root)
	h.want(spec)
	eventually(t, "it is live", func() bool { return h.status().Phase == reconciler.CertificateLive })
	first := h.leaf()
	s := h.status()
	if s.Source != p.directory || s.CSR != "" || s.SelfSigned || s.RenewAt.Before(time.Now()) || s.RenewAt.After(first.NotAfter) {
		t.Errorf("status %+v", s)
	}
	l := newLoad(t, current, 2)
	must(t, h.Renew(t.Context(), inst, name, false))
	eventually(t, "it is renewed", func() bool { return h.status().Generation == s.Generation+1 })
	second := h.leaf()
	l.shows(second)
	if l.stop(); l.failed.Load() > 0 {
		t.Errorf("%d of %d connections failed", l.failed.Load(), l.done.Load())
	}
	must(t, h.Rollback(t.Context(), inst, name, s.Generation))
	h.serves(first)
	h.stop()
	h.mu.Lock()
	h.Manager = certs.New(h.opts)
	h.mu.Unlock()
	h.want(spec)
	h.sync()
	own := h.status().RenewAt
	h.run() // what ACME has on disk is handed over again, and is the one that was gone back from
	eventually(t, "ACME has told when it renews", func() bool { return !h.status().RenewAt.Equal(own) })
	h.serves(first)
	h.stands(reconciler.CertificateLive, "")
}
