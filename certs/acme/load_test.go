//go:build pebble

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
// anybody's help, while clients make handshakes with the front and requests to
// what is behind it: none may fail, and none may see a certificate that has run
// out.
func TestShortLivedUnderLoad(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	conf := s.conf()
	conf.Profiles = map[string]int{"brief": 60}
	ca := newAuthority(t, conf)
	issuer := ca.issuer()
	issuer.Profile = "brief"
	k := keep(t, s, Options{})
	// An eighth of the life, so that the test need not last longer; nothing else differs.
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{issuer}, Fraction: 0.12})
	k.await(1)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var mu sync.Mutex
	good, seen, bad := 0, map[string]bool{}, []string{}
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				serial, err := visit(s.tls.Addr().String())
				mu.Lock()
				if err != nil {
					bad = append(bad, err.Error())
				} else {
					good++
					seen[serial] = true
				}
				mu.Unlock()
			}
		})
	}
	last := k.await(5)
	close(stop)
	clients.Wait()
	t.Logf("%d handshakes with a request each, %d certificates seen, %d failed", good, len(seen), len(bad))
	if len(bad) > 0 || good < 100 || len(seen) < 4 {
		t.Errorf("%d failed (%v), %d good, %d certificates seen", len(bad), bad[:min(len(bad), 3)], good, len(seen))
	}
	if r := leaf(t, last); life(r.leaf) > 61*time.Second {
		t.Errorf("the certificate lives %s: the profile was not asked for", life(r.leaf))
	}
	if n := ca.log.count("Added order"); n > 6 {
		t.Errorf("%d orders for 5 certificates", n)
	}
	if n := ca.log.count("is a replacement of"); n < 4 {
		t.Errorf("%d of 4 renewals named what they replace", n)
	}
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
	resp, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Get("https://" + siteHost)
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
