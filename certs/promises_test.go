package certs_test

import (
	"crypto"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/certs"
	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/reconciler"
)

// trial is a host in the hands of chance.
type trial struct {
	*host
	r    *rapid.T
	ca   *authority
	real bool // one was served
	spec int  // how many domains are wanted
}

func (x *trial) names() []string {
	return []string{domain, "api.acme.com", "www.acme.com"}[:x.spec]
}

func (x *trial) wish() {
	spec := byRequest(x.ca)
	spec.Domains = x.names()
	x.want(spec)
}

func (x *trial) look() {
	if err := x.Sync(x.t.Context(), inst); err != nil {
		x.r.Fatalf("look: %v", err)
	}
}

// holds fails when a promise is broken.
func (x *trial) holds(after string) {
	c, live, err := x.Certificate(inst, name, domain)
	if err != nil {
		return
	}
	key, is := c.PrivateKey.(crypto.Signer)
	switch own := pair.IsSelfSigned(c.Leaf); {
	case !is || pair.SPKI(key.Public()) != pair.SPKI(c.Leaf.PublicKey):
		x.r.Fatalf("after %s: what is served is for another key", after)
	case own && (x.real || live):
		x.r.Fatalf("after %s: a self-signed one is served after a real one, or counts as one", after)
	case !own:
		x.real = true
	}
}

// good is a certificate that must be served when nothing better is.
func (x *trial) good() *x509.Certificate {
	req, err := x.Request(inst, name)
	if err != nil {
		x.r.Fatal(err)
	}
	pub, err := pair.CSRKey(req.PEM)
	if err != nil {
		x.r.Fatal(err)
	}
	return x.ca.issue(pub, x.now().Add(-time.Minute), x.now().Add(90*day), x.names()...)
}

// bad is something that must not be.
func (x *trial) bad() []byte {
	leaf := x.good()
	all := pemOf(leaf, x.ca.ca)
	switch rapid.IntRange(0, 6).Draw(x.r, "fault") {
	case 0:
		return nil
	case 1:
		return all[:len(all)/3*2]
	case 2:
		return []byte("<html>")
	case 3:
		return append(all, keyPEM(x.t, newKey(x.t))...)
	case 4:
		return pemOf(x.ca.issue(newKey(x.t).Public(), x.now(), x.now().Add(90*day), x.names()...), x.ca.ca)
	case 5:
		return pemOf(x.ca.issue(leaf.PublicKey, x.now().Add(-50*day), x.now().Add(-day), x.names()...), x.ca.ca)
	}
	return pemOf(x.ca.issue(leaf.PublicKey, x.now().Add(-time.Minute), x.now().Add(90*day), "else.acme.com"), x.ca.ca)
}

// publishes has the source hold a good one, which must be taken, whatever was
// refused before, unless the clock is doubted or the live one is younger.
func (x *trial) publishes() {
	leaf := x.good()
	var live *x509.Certificate
	if c, _, err := x.Certificate(inst, name, domain); err == nil {
		live = c.Leaf
	}
	x.put("CHAIN", pemOf(x.ca.root, leaf, x.ca.ca))
	err := x.Renew(x.t.Context(), inst, name, false)
	younger := live != nil && !pair.IsSelfSigned(live) && live.NotBefore.After(leaf.NotBefore) && !x.now().After(live.NotAfter)
	if x.status().Phase == reconciler.CertificateClockSuspect || younger {
		return
	}
	if got := x.leaf(); err != nil || !got.Equal(leaf) {
		x.r.Fatalf("a good one was not taken: %v", err)
	}
	x.real = true
}

// Whatever sources, disks, clocks and people do: no self-signed one is served
// after a real one, chain and key belong together, and nothing that was refused
// keeps a good one from being taken.
func TestManagerKeepsItsPromises(t *testing.T) {
	ca := newAuthority(t, time.Now())
	rapid.Check(t, func(r *rapid.T) {
		h := newHost(t)
		x := &trial{host: h, r: r, ca: ca, spec: 1}
		x.wish()
		for range rapid.IntRange(1, 14).Draw(r, "steps") {
			x.step()
		}
	})
}

func (x *trial) step() {
	switch op := rapid.IntRange(0, 9).Draw(x.r, "op"); op {
	case 0, 1:
		x.publishes()
		x.holds("a good one")
	case 2, 3:
		data := x.bad()
		x.put("CHAIN", data)
		_ = x.Renew(x.t.Context(), inst, name, false)
		x.holds("a bad one")
	case 4:
		x.jump(time.Duration(rapid.Int64Range(0, int64(80*day)).Draw(x.r, "forward")))
		x.look()
		x.holds("a time")
	case 5:
		x.jump(-time.Duration(rapid.Int64Range(0, int64(80*day)).Draw(x.r, "back")))
		x.look()
		x.holds("a clock that goes back")
	case 6:
		x.restart()
		x.wish()
		x.holds("a restart")
		x.look()
		x.holds("a look after a restart")
	case 7:
		x.spoil()
		x.look()
		x.holds("a disk that was spoilt")
	case 8:
		x.spec = rapid.IntRange(1, 3).Draw(x.r, "domains")
		x.wish()
		x.look()
		x.holds("other domains")
	case 9:
		if s := x.status(); len(s.Kept) > 0 {
			_ = x.Rollback(x.t.Context(), inst, name, s.Kept[0])
			x.holds("a rollback")
		}
	}
}

// spoil does to the directory what people do.
func (x *trial) spoil() {
	dir := filepath.Join(x.dir, inst, name)
	switch rapid.IntRange(0, 3).Draw(x.r, "spoil") {
	case 0:
		_ = os.RemoveAll(dir)
	case 1:
		_ = os.Remove(filepath.Join(dir, "current"))
	case 2:
		_ = os.WriteFile(filepath.Join(dir, "current", "fullchain.pem"), []byte("x"), 0o600)
	case 3:
		_ = os.Chmod(filepath.Join(dir, "key.pem"), 0o644)
	}
	x.jump(time.Minute) // after which it is looked at
}

// What people do to the files is put back, and a key that was open is an alarm.
func TestDriftIsPutBack(t *testing.T) {
	h, _ := furnished(t)
	dir := filepath.Join(h.dir, inst, name)
	live := read(t, dir, "current", "fullchain.pem")
	must(t, os.WriteFile(filepath.Join(dir, "current", "fullchain.pem"), []byte("x"), 0o600))
	must(t, os.Chmod(filepath.Join(dir, "key.pem"), 0o644))
	h.jump(time.Minute)
	h.sync()
	h.once(certs.ReasonDrift, "fullchain.pem")
	h.once(certs.ReasonKeyExposed, "key.pem")
	must(t, os.RemoveAll(filepath.Join(h.dir)))
	h.jump(time.Minute)
	must(t, h.Sync(t.Context(), inst))
	if string(read(t, dir, "current", "fullchain.pem")) != string(live) {
		t.Error("the directory did not come back")
	}
	h.stands(reconciler.CertificateLive, "")
}
