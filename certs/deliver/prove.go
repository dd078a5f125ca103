package deliver

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/certs/pair"
)

const (
	// shakeLimit bounds one handshake.
	shakeLimit = 5 * time.Second
	// atOnce is how many servers are asked at the same time.
	atOnce = 8
)

// sight is what one address showed.
type sight struct {
	at    netip.AddrPort
	chain []*x509.Certificate // leaf first; none: see err
	err   error

	connected bool
}

func (s sight) leaf() *x509.Certificate {
	if len(s.chain) == 0 {
		return nil
	}
	return s.chain[0]
}

// has reports whether it is the leaf of the pair.
func (s sight) has(p pair.Pair) bool { return s.leaf() != nil && s.leaf().Equal(p.Leaf()) }

// whole reports whether it is all of the chain, and nothing else.
func (s sight) whole(p pair.Pair) bool {
	want := p.Chain()
	if len(s.chain) != len(want) {
		return false
	}
	for i := range want {
		if !s.chain[i].Equal(want[i]) {
			return false
		}
	}
	return true
}

// look asks every place once.
func (v *visit) look(ctx context.Context, at places) view {
	w := view{seen: make([]sight, len(at.list)), name: at.name, live: v.live}
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, place := range at.list {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			w.seen[i] = v.ask(ctx, place)
		})
	}
	wg.Wait()
	return w
}

// ask shakes hands. A server with certificates of two kinds chooses by what
// the client takes: where it shows another kind of key than the pair's, it is
// asked for that kind.
func (v *visit) ask(ctx context.Context, at netip.AddrPort) sight {
	s := v.shake(ctx, at, &tls.Config{ServerName: v.domain})
	mine := v.live.Leaf().PublicKey
	if s.leaf() == nil || kindOf(s.leaf().PublicKey) == kindOf(mine) {
		return s
	}
	suites := suitesFor(mine)
	if suites == nil {
		return s
	}
	if again := v.shake(ctx, at, &tls.Config{ServerName: v.domain, MaxVersion: tls.VersionTLS12, CipherSuites: suites}); again.leaf() != nil {
		return again
	}
	return s
}

// shake does one handshake. Nothing is verified but that the server has the
// key of what it shows, which TLS sees to: whether clients trust it was asked
// before the pair was published.
func (d *Deliverer) shake(ctx context.Context, at netip.AddrPort, conf *tls.Config) sight {
	ctx, cancel := context.WithTimeout(ctx, shakeLimit)
	defer cancel()
	raw, err := d.opts.Dial(ctx, "tcp", at.String())
	if err != nil {
		return sight{at: at, err: err}
	}
	defer func() { _ = raw.Close() }() // without a goodbye: nobody waits for one
	s := sight{at: at, connected: true}
	conf.MinVersion, conf.InsecureSkipVerify = tls.VersionTLS12, true
	conf.VerifyConnection = func(c tls.ConnectionState) error {
		s.chain = c.PeerCertificates
		return nil
	}
	err = tls.Client(raw, conf).HandshakeContext(ctx)
	var alert *net.OpError
	if err != nil && !(len(s.chain) > 0 && errors.As(err, &alert) && alert.Op == "remote error") {
		// A server that wants a certificate of its clients has shown its own by
		// the time it says so.
		s.chain, s.err = nil, err
	}
	return s
}

func kindOf(key any) string {
	switch key.(type) {
	case *rsa.PublicKey:
		return "RSA"
	case *ecdsa.PublicKey:
		return "ECDSA"
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return ""
}

// suitesFor are those of TLS 1.2 that go with a kind of key; TLS 1.3 leaves
// the choice to the server.
func suitesFor(key any) []uint16 {
	switch kindOf(key) {
	case "RSA":
		return []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256}
	case "ECDSA":
		return []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}
	}
	return nil
}

// nameToAsk is the name that a server is asked for: a domain itself, and for a
// wildcard one that it stands for.
func nameToAsk(domain string) string {
	if rest, wild := strings.CutPrefix(domain, "*."); wild {
		return "fairlead-asks." + rest
	}
	return domain
}
