package acme

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"github.com/miekg/dns"
)

// challengePath is where HTTP-01 asks (RFC 8555, 8.3).
const challengePath = "/.well-known/acme-challenge/"

// Protocol is what a client of TLS-ALPN-01 negotiates (RFC 8737).
const Protocol = acmez.ACMETLS1Protocol

// challenges are those that are open. They are answered from memory by whoever
// listens; this package never listens by itself.
type challenges struct {
	mu     sync.RWMutex
	tokens map[string]acme.Challenge   // HTTP-01, by token
	certs  map[string][]*challengeCert // TLS-ALPN-01, by server name; two orders may prove one name
}

type challengeCert struct {
	token string
	*tls.Certificate
}

// ServeHTTP answers HTTP-01 and nothing else.
func (c *challenges) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, under := strings.CutPrefix(r.URL.Path, challengePath)
	c.mu.RLock()
	chal, open := c.tokens[token]
	c.mu.RUnlock()
	// The host is compared so that a name which somebody points here proves nothing.
	if !under || !open || !sameHost(r.Host, chal.Identifier.Value) || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(chal.KeyAuthorization)) // a client that is gone will ask again
}

func sameHost(header, want string) bool {
	host := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	if a, err := netip.ParseAddr(want); err == nil {
		b, err := netip.ParseAddr(host)
		return err == nil && a.Unmap() == b.Unmap()
	}
	return strings.EqualFold(host, want)
}

// certificate is what to show a client of TLS-ALPN-01. The second result says
// whether it is one.
func (c *challenges) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, bool) {
	if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != Protocol {
		return nil, false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	certs := c.certs[strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))]
	if len(certs) == 0 {
		return nil, true
	}
	return certs[len(certs)-1].Certificate, true
}

// serverName is what the client of a challenge asks for (RFC 8738, 6).
func serverName(chal acme.Challenge) (string, error) {
	if chal.Identifier.Type != "ip" {
		return strings.ToLower(chal.Identifier.Value), nil
	}
	name, err := dns.ReverseAddr(chal.Identifier.Value)
	return strings.TrimSuffix(name, "."), err
}

// httpSolver and alpnSolver put challenges where they are answered from.
type (
	httpSolver struct{ *challenges }
	alpnSolver struct{ *challenges }
)

func (s httpSolver) Present(_ context.Context, chal acme.Challenge) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens == nil {
		s.tokens = map[string]acme.Challenge{}
	}
	s.tokens[chal.Token] = chal
	return nil
}

func (s httpSolver) CleanUp(_ context.Context, chal acme.Challenge) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, chal.Token)
	return nil
}

func (s alpnSolver) Present(_ context.Context, chal acme.Challenge) error {
	name, err := serverName(chal)
	if err != nil {
		return err
	}
	cert, err := acmez.TLSALPN01ChallengeCert(chal)
	if err != nil {
		return fmt.Errorf("make challenge certificate: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.certs == nil {
		s.certs = map[string][]*challengeCert{}
	}
	s.certs[name] = append(s.certs[name], &challengeCert{chal.Token, cert})
	return nil
}

func (s alpnSolver) CleanUp(_ context.Context, chal acme.Challenge) error {
	name, err := serverName(chal)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var rest []*challengeCert
	for _, c := range s.certs[name] {
		if c.token != chal.Token {
			rest = append(rest, c)
		}
	}
	if s.certs[name] = rest; len(rest) == 0 {
		delete(s.certs, name)
	}
	return nil
}
