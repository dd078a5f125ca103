package deliver

import (
	"cmp"
	"crypto/sha256"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/desired"
)

const (
	defaultWithin = 10 * time.Second
	maxWithin     = 30 * time.Second
	// proveEvery is how often a server is asked anew where nothing changed.
	proveEvery = 10 * time.Minute
	// lookEvery is how often one that failed is asked, between two reloads.
	lookEvery = 30 * time.Second
	// forgetAfter drops what is remembered of a server that is wanted no more.
	forgetAfter = time.Hour
)

// patience is how long is waited before a reload that failed is tried again.
func patience(failed int) time.Duration {
	steps := [...]time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute}
	return steps[min(max(failed, 1), len(steps))-1]
}

// identity names a server of a certificate.
type identity struct {
	instance, domain string
	desired.Reloader
}

// digest names a pair as far as a server shows it.
type digest [sha256.Size]byte

func digestOf(p pair.Pair) digest { return sha256.Sum256(p.Fullchain()) }

// server is what is remembered of one.
type server struct {
	sync.Mutex
	used time.Time // guarded by the Deliverer

	last       Outcome
	of         digest       // the pair that last is about
	leaf       string       // the one that was proved last; empty: none was
	containers []netip.Addr // as last seen
	due        time.Time    // when it is looked at again
	failed     int          // tries since it was proved, or since something changed
	retry      time.Time    // when it may be told again
}

// again is the outcome as it was, of which nothing is done now.
func (s *server) again() Outcome {
	o := s.last
	o.Changed = false
	return o
}

func (d *Deliverer) server(id identity) *server {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for other, s := range d.seen {
		if now.Sub(s.used) > forgetAfter {
			delete(d.seen, other)
		}
	}
	s := d.seen[id]
	if s == nil {
		s = &server{}
		d.seen[id] = s
	}
	s.used = now
	return s
}

// nameOf is what a server is called for people.
func nameOf(r desired.Reloader) string {
	switch {
	case r.Caddy != "":
		a, err := parseAdmin(r.Caddy)
		if err != nil {
			return strings.TrimSpace(r.Service + " Caddy")
		}
		return strings.TrimSpace(r.Service + " " + a.String())
	case r.Signal != "":
		return r.Service + " " + r.Signal
	}
	return cmp.Or(r.Service, r.Prove)
}

func within(r desired.Reloader) time.Duration {
	if r.Within <= 0 {
		return defaultWithin
	}
	return min(r.Within, maxWithin)
}
