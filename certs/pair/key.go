package pair

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
)

// Algorithm is a kind of key.
type Algorithm string

// The kinds of key that are made here. RSA2048 is what every corporate CA signs;
// P256 is the quickest in a handshake. No browser accepts Ed25519.
const (
	RSA2048 Algorithm = "rsa2048"
	RSA3072 Algorithm = "rsa3072"
	RSA4096 Algorithm = "rsa4096"
	P256    Algorithm = "p256"
	P384    Algorithm = "p384"
	Ed25519 Algorithm = "ed25519"
)

const (
	minRSA = 2048
	maxRSA = 8192 // crypto/tls verifies no larger one
)

// NewKey makes a key.
func NewKey(a Algorithm) (crypto.Signer, error) {
	switch a {
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("make key: there is no kind %q; use rsa2048, rsa3072, rsa4096, p256, p384 or ed25519", a)
}

// AlgorithmOf returns the kind of a public key, which may be one that NewKey
// does not make: rsa1024, p224, p521; empty when it is unknown.
func AlgorithmOf(pub crypto.PublicKey) Algorithm {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return Algorithm(fmt.Sprintf("rsa%d", k.N.BitLen()))
	case *ecdsa.PublicKey:
		return Algorithm(fmt.Sprintf("p%d", k.Curve.Params().BitSize))
	case ed25519.PublicKey:
		return Ed25519
	}
	return ""
}

// EncodeKey writes a key as PKCS #8 in PEM.
func EncodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %T is of no kind that can be written", key)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// SPKI is the fingerprint of a public key, "sha256:" and the digest of its
// SubjectPublicKeyInfo in hex. It says nothing about the private one.
func SPKI(pub crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "unknown"
	}
	return digest(der)
}

// Fingerprint is that of a certificate, "sha256:" and the digest in hex.
func Fingerprint(c *x509.Certificate) string { return digest(c.Raw) }

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// usable returns the key if it is of a kind that signs.
func usable(key any) (crypto.Signer, bool) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k, true
	case *ecdsa.PrivateKey:
		return k, true
	case ed25519.PrivateKey:
		return k, true
	}
	return nil, false
}

// samePublic compares public keys of any kind.
func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// weakKey says what is weak about a public key; empty when it is not.
func weakKey(pub crypto.PublicKey) string {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return fmt.Sprintf("RSA with %d bits", n)
		}
		if k.E < 3 || k.E%2 == 0 {
			return fmt.Sprintf("RSA with the exponent %d", k.E)
		}
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize < 256 {
			return k.Curve.Params().Name
		}
	case ed25519.PublicKey:
	default:
		return "of an unknown kind"
	}
	return ""
}
