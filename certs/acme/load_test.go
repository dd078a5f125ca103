package acme

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestShortLivedUnderLoad renews certificates that live 60 seconds without
// anybody's help and with all settings at their defaults, while clients make
// handshakes with the front and requests to what is behind it, until the first
// one has run out: none may fail, and none may see one that has.
func TestShortLivedUnderLoad(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	conf := s.conf()
	conf.Profiles = map[string]int{"brief": 60}
	ca := newAuthority(t, conf)
	issuer := ca.issuer()
	issuer.Profile = "brief"
	k := keep(t, s, Options{Every: time.Minute, Backoff: defaults().Backoff})
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{issuer}})
	first := k.await(1)
	load := begin(s.tls.Addr().String())
	k.await(3)
	eventually(t, "the first certificate has run out", func() bool { return time.Now().After(first.NotAfter) })
	load.end()
	n := len(k.handed())
	t.Logf("%d renewals, %d handshakes with a request each, %d certificates seen, %d failed", n-1, load.good, len(load.seen), len(load.bad))
	if len(load.bad) > 0 || load.good < 100 || len(load.seen) < n-1 {
		t.Errorf("%d failed (%v), %d good, %d of %d certificates seen", len(load.bad), load.bad[:min(len(load.bad), 3)], load.good, len(load.seen), n)
	}
	if r := leaf(t, first); life(r.leaf) > 61*time.Second {
		t.Errorf("the certificate lives %s: the profile was not asked for", life(r.leaf))
	}
	if n := ca.log.count("Added order"); n > len(k.handed())+1 {
		t.Errorf("%d orders for %d certificates", n, len(k.handed()))
	}
	eventually(t, "each renewal has named what it replaces", func() bool { return ca.log.count("is a replacement of") >= n-1 })
}

// load is clients that make one handshake after the other.
type load struct {
	end  func()
	mu   sync.Mutex
	good int
	seen map[string]bool // serial numbers
	bad  []string
}

// begin starts four clients, together at most 160 handshakes a second: what ended
// is remembered for a minute by the kernel, which has 28,000 ports for it.
func begin(addr string) *load {
	l := &load{seen: map[string]bool{}}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	l.end = func() { close(stop); clients.Wait() }
	for range 4 {
		clients.Go(func() {
			tick := time.NewTicker(25 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					l.note(visit(addr))
				}
			}
		})
	}
	return l
}

func (l *load) note(serial string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.bad = append(l.bad, err.Error())
		return
	}
	l.good++
	l.seen[serial] = true
}

// visit makes a handshake and a request, and says which certificate was shown.
// One that is not for the host, or not valid now, is an error.
func visit(addr string) (string, error) {
	tr := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // Pebble's root is new each time
	}
	resp, err := (&http.Client{Transport: tr, Timeout: time.Minute}).Get("https://" + siteHost)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || string(body) != "hello" {
		return "", fmt.Errorf("%s: %q, %v", resp.Status, body, err)
	}
	leaf := resp.TLS.PeerCertificates[0]
	if now := time.Now(); now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		return "", fmt.Errorf("certificate is valid from %s to %s", leaf.NotBefore, leaf.NotAfter)
	}
	return leaf.SerialNumber.String(), leaf.VerifyHostname(siteHost)
}
