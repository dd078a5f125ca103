package acme

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"math"
	"time"
)

const (
	shortLife = 10 * 24 * time.Hour
	week      = 7 * 24 * time.Hour
	// urgentRetry bounds the wait after a failure when a certificate is about
	// to run out.
	urgentRetry = 15 * time.Minute
	// longestWait bounds what an authority, or a clock that was wrong for a
	// while, can make us wait.
	longestWait = week
)

func life(leaf *x509.Certificate) time.Duration { return leaf.NotAfter.Sub(leaf.NotBefore) }

// fractionOf is how much of its life a certificate is kept.
func fractionOf(leaf *x509.Certificate, asked float64) float64 {
	switch {
	case asked > 0:
		return asked
	case life(leaf) < shortLife:
		return 0.5
	}
	return 2.0 / 3
}

// renewAt is when a successor is due: at the time chosen within the window that
// the authority suggests, else after the fraction of the life, up to a
// twentieth of it earlier so that certificates issued together are not renewed
// together. In both cases it is before the last tenth.
func renewAt(leaf *x509.Certificate, fraction float64, w *window) time.Time {
	whole := life(leaf)
	last := leaf.NotAfter.Add(-whole / 10)
	at := leaf.NotBefore.Add(time.Duration(float64(whole) * (fractionOf(leaf, fraction) - share(leaf)/20)))
	// A window around the whole life, as authorities suggest for lives of hours, says nothing.
	if w != nil && (w.Start.After(leaf.NotBefore) || w.End.Before(leaf.NotAfter)) {
		at = w.Selected
		// A window that is always in the past would order without end.
		if soonest := leaf.NotBefore.Add(min(whole/20, 6*time.Hour)); at.Before(soonest) {
			at = soonest
		}
	}
	if at.After(last) {
		return last
	}
	return at
}

// share is a number from 0 to 1 that differs from certificate to certificate and
// stays the same over restarts.
func share(leaf *x509.Certificate) float64 {
	sum := sha256.Sum256(leaf.Raw)
	return float64(binary.BigEndian.Uint32(sum[:])) / math.MaxUint32
}

// urgent reports whether a certificate is in the last tenth of its life, or in
// its last two days if it lives long.
func urgent(leaf *x509.Certificate, now time.Time) bool {
	left := leaf.NotAfter.Sub(now)
	return left < life(leaf)/10 || (life(leaf) >= shortLife && left < 48*time.Hour)
}

// wait is how long to wait after so many failures in a row.
func wait(backoff []time.Duration, failed int) time.Duration {
	return backoff[min(max(failed, 1), len(backoff))-1]
}

// allowed is how many orders may begin in a week: the number that was set, or
// three times what the life of the certificate needs.
func allowed(orders int, leaf *x509.Certificate, fraction float64) int {
	each := time.Duration(float64(life(leaf)) * fractionOf(leaf, fraction))
	if each <= 0 {
		return orders
	}
	return max(orders, int(3*week/each))
}

// nextLook is when the suggested window is asked for again: when the authority
// says so, in six hours else, and for a short life in a tenth of it.
func nextLook(leaf *x509.Certificate, now time.Time, said *time.Time) time.Time {
	in := 6 * time.Hour
	if said != nil {
		in = min(max(said.Sub(now), time.Minute), 24*time.Hour)
	}
	return now.Add(min(in, life(leaf)/10))
}
