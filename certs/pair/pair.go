package pair

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// Pair is a chain and the key of its leaf, which belong together. The zero Pair
// is none. It prints as what may be known of it.
type Pair struct {
	chain []*x509.Certificate // leaf first, without the root
	key   held
	own   bool // it is self-signed; finding that out costs a signature
}

// held has a key in a function: what prints a struct with a pair in a field of
// its own, of which fmt asks no method, prints an address, with any verb.
type held func() crypto.Signer

func hold(key crypto.Signer) held { return func() crypto.Signer { return key } }

// New makes a pair of a chain in order and a key. It checks that they belong
// together, and nothing that depends on time, trust or names: a pair that was
// good once can always be read back.
func New(chain []*x509.Certificate, key crypto.Signer) (Pair, error) {
	if len(chain) == 0 || key == nil {
		return Pair{}, errors.New("make pair: there is no certificate or no key")
	}
	if !samePublic(chain[0].PublicKey, key.Public()) {
		return Pair{}, fmt.Errorf("make pair: the first certificate is for the key %s, the key is %s", SPKI(chain[0].PublicKey), SPKI(key.Public()))
	}
	for i, c := range chain[1:] {
		if !bytes.Equal(chain[i].RawIssuer, c.RawSubject) {
			return Pair{}, fmt.Errorf("make pair: certificate %d of the chain is not the issuer of the one before it", i+2)
		}
	}
	return Pair{slices.Clone(chain), hold(key), IsSelfSigned(chain[0])}, nil
}

// Load reads a pair as Fullchain and PrivateKey write it.
func Load(fullchain, privkey []byte) (Pair, error) {
	chain, err := ParseChain(fullchain)
	if err != nil {
		return Pair{}, fmt.Errorf("read chain: %w", err)
	}
	key, err := ParseKey(privkey)
	if err != nil {
		return Pair{}, fmt.Errorf("read key: %w", err)
	}
	return New(chain, key)
}

// IsZero reports whether it is no pair.
func (p Pair) IsZero() bool { return len(p.chain) == 0 }

// Leaf is the certificate itself; nil of the zero Pair.
func (p Pair) Leaf() *x509.Certificate {
	if p.IsZero() {
		return nil
	}
	return p.chain[0]
}

// Chain is leaf and intermediates, in order.
func (p Pair) Chain() []*x509.Certificate { return slices.Clone(p.chain) }

// Key is the private key; nil of the zero Pair.
func (p Pair) Key() crypto.Signer {
	if p.key == nil {
		return nil
	}
	return p.key()
}

// SelfSigned reports whether it is a stand-in of our own.
func (p Pair) SelfSigned() bool { return p.own }

// Equal reports whether both have the same chain and key.
func (p Pair) Equal(o Pair) bool {
	if p.IsZero() || o.IsZero() {
		return p.IsZero() == o.IsZero()
	}
	return slices.EqualFunc(p.chain, o.chain, (*x509.Certificate).Equal) && samePublic(p.key().Public(), o.key().Public())
}

// ValidAt reports whether the leaf is valid at that time.
func (p Pair) ValidAt(t time.Time) bool {
	return !p.IsZero() && !t.Before(p.chain[0].NotBefore) && !t.After(p.chain[0].NotAfter)
}

// TLS returns the pair as crypto/tls serves it.
func (p Pair) TLS() *tls.Certificate {
	if p.IsZero() {
		return nil
	}
	c := &tls.Certificate{PrivateKey: p.key(), Leaf: p.chain[0]}
	for _, x := range p.chain {
		c.Certificate = append(c.Certificate, x.Raw)
	}
	return c
}

// Fullchain writes the chain in PEM, leaf first.
func (p Pair) Fullchain() []byte {
	var b bytes.Buffer
	for _, c := range p.chain {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a Buffer never fails
	}
	return b.Bytes()
}

// PrivateKey writes the key as PKCS #8 in PEM.
func (p Pair) PrivateKey() ([]byte, error) {
	if p.IsZero() {
		return nil, errors.New("encode key: there is no pair")
	}
	return EncodeKey(p.key())
}

// Combined writes chain and key in one document, as HAProxy and others read it.
func (p Pair) Combined() ([]byte, error) {
	key, err := p.PrivateKey()
	if err != nil {
		return nil, err
	}
	return append(p.Fullchain(), key...), nil
}

// PKCS12 writes chain and key as a PKCS #12 file, encrypted with AES-256, which
// Java 8u301, OpenSSL 1.1 and Windows Server 2019 and later read. It differs
// each time, for its salts.
func (p Pair) PKCS12(password string) ([]byte, error) {
	if p.IsZero() {
		return nil, errors.New("encode PKCS #12: there is no pair")
	}
	data, err := pkcs12.Modern2023.Encode(p.key(), p.chain[0], p.chain[1:], password)
	if err != nil {
		return nil, errors.New("encode PKCS #12: the key's kind or the password cannot be written")
	}
	return data, nil
}

// LoadPKCS12 reads what PKCS12 writes.
func LoadPKCS12(data []byte, password string) (Pair, error) {
	if len(data) > MaxDocument {
		return Pair{}, fmt.Errorf("read PKCS #12: it has %d KiB, more than %d", len(data)>>10, MaxDocument>>10)
	}
	key, leaf, above, err := pkcs12.DecodeChain(data, password)
	if err != nil { // whose text is kept out, for what it may quote
		return Pair{}, errors.New("read PKCS #12: it is damaged, or the password is another")
	}
	signer, ok := usable(key)
	if !ok {
		return Pair{}, errors.New("read PKCS #12: its key cannot sign")
	}
	return New(append([]*x509.Certificate{leaf}, above...), signer)
}

// Format keeps the key out of whatever prints the pair, with any verb.
func (p Pair) Format(w fmt.State, _ rune) {
	if p.IsZero() {
		_, _ = io.WriteString(w, "no pair")
		return
	}
	_, _ = fmt.Fprintf(w, "certificate %s of %s until %s", Fingerprint(p.chain[0]), p.chain[0].Subject, p.chain[0].NotAfter.UTC().Format(time.RFC3339))
}
