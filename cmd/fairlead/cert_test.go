package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// visitors connect to the front all the time, and one of them stays.
type visitors struct {
	made, failed atomic.Int64
	stop         func()
}

func (c *corporation) visit() *visitors {
	v := &visitors{}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	every := func(do func() error) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			v.made.Add(1)
			if err := do(); err != nil {
				v.failed.Add(1)
				c.t.Errorf("visitor: %v", err)
			}
		}
	}
	all.Go(func() { every(func() error { _, err := c.shown(certHost); return err }) })
	stays, err := tls.Dial("tcp", c.https, &tls.Config{ServerName: certHost, InsecureSkipVerify: true})
	if err != nil {
		c.t.Fatal(err)
	}
	answers := bufio.NewReader(stays)
	all.Go(func() { every(func() error { return askOn(stays, answers) }) })
	v.stop = sync.OnceFunc(func() { cancel(); all.Wait(); _ = stays.Close() })
	c.t.Cleanup(v.stop)
	return v
}

// askOn makes a request on a connection that stays. There is no application
// behind the front, which says so.
func askOn(conn *tls.Conn, answers *bufio.Reader) error {
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", certHost); err != nil {
		return err
	}
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// Of everything that is printed, this differs between runs.
var certVolatile = []struct {
	find *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d`), "2026-11-20 12:00"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "<fingerprint>"},
	{regexp.MustCompile(`\bace[0-9a-f]{2}\b`), "ace01"},
	{regexp.MustCompile(`sha256/[A-Za-z0-9+/=]{44}`), "sha256/<key>"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:8443"},
	{regexp.MustCompile(`\b\d+[smh] ago`), "2s ago"},
}

func (c *corporation) steadyCert(text string) string {
	text = c.steady(text)
	for _, v := range certVolatile {
		text = v.find.ReplaceAllString(text, v.with)
	}
	return text
}

// TestCorporateCertificate goes the whole way with a daemon: request,
// self-signed, the chain, refusals, rotation, rollback, restart.
func TestCorporateCertificate(t *testing.T) {
	t.Parallel()
	c := newCorporation(t)
	c.begin(c.instance(c.corporate("    fallback: self-signed\n")))
	d := c.start()
	standIn := c.shows("something", func(*x509.Certificate) bool { return true })
	if standIn.CheckSignature(standIn.SignatureAlgorithm, standIn.RawTBSCertificate, standIn.Signature) != nil {
		t.Errorf("what is served first is not self-signed but by %s", standIn.Issuer)
	}
	key := c.request()
	if !standIn.PublicKey.(*ecdsa.PublicKey).Equal(key) {
		t.Error("the stand-in has another key than the request")
	}
	c.until("it is healthy and waits for the authority", func(s reconciler.Status) bool {
		return certificatesReady(s).Reason == "AwaitingIssuer" && s.Health == reconciler.Healthy
	})
	v := c.visit()
	first := c.issue(key, certHost)
	c.publish(first)
	asked := time.Now()
	c.showsLeaf(first)
	t.Logf("served %s after it was published", time.Since(asked).Round(time.Millisecond))

	c.refusals(key, first)
	second := c.rotates(key, first)
	v.stop()
	t.Logf("%d connections and requests, %d failed", v.made.Load(), v.failed.Load())
	if v.made.Load() < 50 {
		t.Errorf("only %d connections and requests", v.made.Load())
	}
	c.restarts(d, second)
	for _, reason := range []string{"CertificateRequestMade", "CertificateSelfSigned", "CertificatePublished", "CertificateRefused", "CertificateRolledBack"} {
		says(t, c.must(0, "events", "-o", "json"), reason)
	}
}

// refusals tries what is wrong, and finds the last good one served.
func (c *corporation) refusals(key any, live *x509.Certificate) {
	c.t.Helper()
	stranger := p256(c.t).Public()
	for _, bad := range []struct{ code, page string }{
		{"KeyMismatch", certPEM(c.issue(stranger, certHost)) + certPEM(c.ca)},
		{"NamesMissing", certPEM(c.issue(key, "www.acme.test")) + certPEM(c.ca)},
		{"BadChain", "<html>Sign in</html>"},
	} {
		c.put(bad.page)
		says(c.t, c.must(6, "cert", "test-url", c.URL+"/chain.pem", "--certificate", "data"), "would be refused", bad.code)
		says(c.t, c.must(6, "cert", "renew", "data"), "the candidate is refused; generation 2 stays", bad.code)
		says(c.t, c.must(6, "cert", "renew", "data"), bad.code) // it is the same one, and refused all the same
		says(c.t, c.must(0, "cert", "show", "acme/data"), "Degraded", "Refused", bad.code)
		c.until("degraded by "+bad.code, func(s reconciler.Status) bool {
			return certificatesReady(s).Status == "False" && certificatesReady(s).Reason == "Degraded" && s.Health == reconciler.Degraded
		})
		c.showsLeaf(live)
	}
	c.put("")
	says(c.t, c.must(1, "cert", "test-url", c.URL+"/chain.pem", "--certificate", "data"), "404")
	says(c.t, c.must(1, "cert", "test-url", "https://127.0.0.1:1/chain.pem"), "fetch.allowedHosts")
	c.publish(live)
	if r := c.must(0, "cert", "test-url", c.URL+"/chain.pem", "--certificate", "data", "-o", "json"); !strings.Contains(r.stdout, `"served": true`) {
		c.t.Errorf("got %s", r.stdout)
	}
}

// rotates has the authority answer anew, goes back, and forward again.
func (c *corporation) rotates(key any, first *x509.Certificate) *x509.Certificate {
	c.t.Helper()
	says(c.t, c.must(0, "cert", "renew", "data"), "nothing newer than generation 2")
	second := c.issue(key, certHost)
	c.publish(second)
	says(c.t, c.must(0, "cert", "renew", "data"), "generation 3") // live now, or nothing newer: it looks by itself, too
	c.showsLeaf(second)
	says(c.t, c.must(0, "cert", "rollback", "data"), "generation 4 is live")
	c.showsLeaf(first)
	says(c.t, c.must(0, "cert", "renew", "data"), "nothing newer than generation 4")
	c.showsLeaf(first)
	says(c.t, c.must(0, "cert", "renew", "--force", "data"), "generation 5 is live")
	c.showsLeaf(second)
	says(c.t, c.must(1, "cert", "rollback", "data", "--to", "99"), "99")
	says(c.t, c.must(1, "cert", "show", "nobody"), "there is no certificate nobody", "there are: acme/data")
	says(c.t, c.must(1, "cert", "show", "nowhere/data"), "nowhere")
	for _, odd := range []string{"/data", "../data", "acme/"} {
		says(c.t, c.must(1, "cert", "show", odd), "there is no certificate "+odd, "INSTANCE/NAME")
	}
	c.until("well", func(s reconciler.Status) bool {
		return certificatesReady(s).Status == "True" && s.Health == reconciler.Healthy
	})
	text := &transcript{world: c.world}
	for _, args := range [][]string{{"cert", "ls"}, {"cert", "show", "data"}} {
		text.step(0, args...)
	}
	golden(c.t, "cert.txt", c.steadyCert(text.text.String()))
	says(c.t, c.must(0, "status", "acme"), "Certificates", "██████████  90d")
	for _, line := range []string{
		`fairlead_cert_phase{certificate="data",instance="acme",phase="Live",reason=""} 1`,
		`fairlead_cert_generation{certificate="data",instance="acme"} 5`,
		`fairlead_cert_refused_total{certificate="data",instance="acme"} 3`,
		fmt.Sprintf(`fairlead_cert_not_after_timestamp_seconds{certificate="data",instance="acme"} %g`, float64(second.NotAfter.Unix())),
	} {
		if m := c.metrics(); !strings.Contains(m, line) {
			c.t.Errorf("no line %s in the metrics", line)
		}
	}
	return second
}

// restarts has a new daemon serve the same pair while its source is silent.
func (c *corporation) restarts(d *daemon, live *x509.Certificate) {
	c.t.Helper()
	if code := d.signal(syscall.SIGTERM); code != 0 {
		c.t.Errorf("the daemon ended with %d", code)
	}
	c.Close()
	c.start()
	got := c.shows("anything", func(*x509.Certificate) bool { return true })
	if !got.Equal(live) {
		c.t.Errorf("the first handshake shows serial %x of %s", got.SerialNumber, got.Issuer)
	}
}

// TestCertificatesByCommit: one that a commit removes is served no more, and
// git revert brings its source and its pair back.
func TestCertificatesByCommit(t *testing.T) {
	t.Parallel()
	c := newCorporation(t)
	c.begin(c.instance(c.corporate("    fallback: self-signed\n")))
	c.start()
	c.shows("something", func(*x509.Certificate) bool { return true })
	leaf := c.issue(c.request(), certHost)
	c.publish(leaf)
	c.must(0, "cert", "renew", "data")
	c.showsLeaf(leaf)
	c.commit("Do without", c.instance("front:\n  - {host: "+certHost+", to: \"web:8000\"}\n"))
	c.must(0, "apply")
	c.shows("a self-signed one", func(x *x509.Certificate) bool { return !x.Equal(leaf) })
	c.until("it is self-signed", func(s reconciler.Status) bool { // the front has a stand-in of its own meanwhile
		return len(s.Certificates) == 1 && s.Certificates[0].Name == certHost && s.Certificates[0].Phase == reconciler.CertificateSelfSigned
	})
	says(t, c.must(1, "cert", "csr", "data"), "there is no certificate data", "acme/"+certHost)
	says(t, c.must(1, "cert", "csr", certHost), "needs none")
	says(t, c.must(1, "cert", "renew", certHost), "self-signed")
	c.commit("Have it again", c.instance(c.corporate("    fallback: self-signed\n")))
	c.must(0, "apply")
	c.showsLeaf(leaf)
	if s := c.certificate("data"); s.Source != c.URL+"/chain.pem" || s.Generation != 2 {
		t.Errorf("it is %+v", s)
	}
}

// TestNoCertificateYet: a host whose certificate is not there, and for which
// nothing else may be served, is told of.
func TestNoCertificateYet(t *testing.T) {
	t.Parallel()
	c := newCorporation(t)
	c.begin(c.instance(c.corporate("")))
	c.start()
	waitFor(t, "the authority was asked", func() bool { return c.questions() > 0 })
	waitFor(t, "the front refuses the handshake", func() bool { _, err := c.shown(certHost); return err != nil && strings.Contains(err.Error(), "tls:") })
	c.until("the answer is told", func(s reconciler.Status) bool { return certificatesReady(s).Reason == "AwaitingIssuer" })
	r := c.must(0, "status", "acme")
	says(t, r, "CertificatesReady", "AwaitingIssuer", "there is no certificate at "+c.URL+"/chain.pem yet; nothing is served", "cert.csr signed")
	says(t, c.must(0, "cert", "ls"), "nothing is served")
	c.put("<html>")
	says(t, c.must(6, "cert", "renew", "data"), "nothing is served", "BadChain")
	leaf := c.issue(c.request(), certHost)
	c.publish(leaf)
	c.must(0, "cert", "renew", "data")
	c.showsLeaf(leaf)
}

// TestCertificatesAlone does without a daemon what one would do.
func TestCertificatesAlone(t *testing.T) {
	t.Parallel()
	c := newCorporation(t)
	out := filepath.Join(c.dir, "tls")
	c.begin(c.instance(c.corporate("    fallback: self-signed\n    deliver: [{dir: " + out + "}]\n")))
	says(t, c.must(1, "cert", "show", "nobody"), "there is no certificate nobody")
	c.must(0, "run", "--once")
	key := c.request()
	leaf := c.issue(key, certHost)
	c.publish(leaf)
	says(t, c.must(0, "cert", "test-url", c.URL+"/chain.pem", "--certificate", "data"), "would be served")
	says(t, c.must(0, "cert", "renew", "data"), "generation 2") // live now, or nothing newer: it looks by itself, too
	var all []ownedCertificate
	if err := json.Unmarshal([]byte(c.must(0, "cert", "ls", "-o", "json").stdout), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || all[0].Instance != "acme" || all[0].Phase != reconciler.CertificateLive || all[0].Generation != 2 {
		t.Errorf("got %+v", all)
	}
	second := c.issue(key, certHost)
	c.publish(second)
	says(t, c.must(0, "cert", "renew", "data"), "generation 3")
	c.must(0, "run", "--once")
	pair, err := tls.LoadX509KeyPair(filepath.Join(out, "fullchain.pem"), filepath.Join(out, "privkey.pem"))
	if err != nil || !pair.Leaf.Equal(second) {
		t.Errorf("delivered was not what the authority signed last: %v", err)
	}
	info, err := os.Stat(filepath.Join(out, "privkey.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v of the key, %v", info.Mode(), err)
	}
	c.put("<html>")
	says(t, c.must(6, "cert", "renew", "data"), "BadChain")
	says(t, c.must(0, "cert", "rollback", "data", "--to", "2"), "generation 4 is live")
	var request server.CertificateRequest
	if err := json.Unmarshal([]byte(c.must(0, "cert", "csr", "acme/data", "-o", "json").stdout), &request); err != nil {
		t.Fatal(err)
	}
	if request.Source != c.URL+"/chain.pem" || request.Key != "p256" || len(request.Domains) != 1 || !strings.HasPrefix(request.PEM, "-----BEGIN CERTIFICATE REQUEST-----") {
		t.Errorf("the request is %+v", request)
	}
}
