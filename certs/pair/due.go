package pair

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"slices"
	"time"
)

// shortLife is the life below which a certificate is renewed at half of it
// already: a CA that is down for a day leaves it no second third.
const shortLife = 10 * 24 * time.Hour

// DueAt is when a certificate is to be renewed: after two thirds of its life, or
// half of it when it lives less than 10 days.
func DueAt(c *x509.Certificate) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	if life < shortLife {
		return c.NotBefore.Add(life / 2)
	}
	return c.NotBefore.Add(life / 3 * 2)
}

// RenewAt is DueAt, earlier by up to a twentieth of the life, so that many hosts
// do not ask at once. How much depends on the seed, the host's name for one, and
// the certificate alone: it is the same at every call.
func RenewAt(c *x509.Certificate, seed string) time.Time {
	spread := c.NotAfter.Sub(c.NotBefore) / 20
	if spread <= 0 {
		return DueAt(c)
	}
	sum := sha256.Sum256(slices.Concat([]byte(seed), []byte{0}, c.Raw))
	return DueAt(c).Add(-time.Duration(binary.BigEndian.Uint64(sum[:8]) % uint64(spread)))
}

// RenewSelfSignedAt is when a stand-in is made anew: after two thirds of the
// life that it had when it was made.
func RenewSelfSignedAt(c *x509.Certificate) time.Time {
	made := c.NotBefore.Add(Back)
	return made.Add(c.NotAfter.Sub(made) / 3 * 2)
}
