package certs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs"
	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// From an empty directory to a certificate of the CA: the key is made once, the
// stand-in is served until the chain is there, and no key changes.
func TestFromRequestToCertificate(t *testing.T) {
	h := newHost(t)
	ca := newAuthority(t, h.now())
	h.want(byRequest(ca))
	if _, _, err := h.Certificate(inst, name, domain); err == nil {
		t.Error("something is served before there is anything")
	}
	h.sync()
	s := h.stands(reconciler.CertificateAwaitsIssuer, "NotThereYet")
	if !s.SelfSigned || s.CSR != filepath.Join(h.dir, inst, name, "cert.csr") || s.Source != "env://CHAIN" {
		t.Errorf("status %+v", s)
	}
	standIn := h.leaf()
	if _, live, _ := h.Certificate(inst, name, domain); live || !pair.IsSelfSigned(standIn) {
		t.Error("the stand-in counts as real")
	}
	req, err := h.Request(inst, name)
	must(t, err)
	if string(req.PEM) != string(read(t, s.CSR)) || req.SPKI != pair.SPKI(standIn.PublicKey) || req.Key != "p256" {
		t.Errorf("request %+v", req)
	}
	chain := ca.answer(req.PEM, h.now().Add(-time.Hour), h.now().Add(90*day))
	h.put("CHAIN", pemOf(chain, ca.ca))
	must(t, h.Renew(t.Context(), inst, name, false))
	h.serves(chain)
	s = h.stands(reconciler.CertificateLive, "")
	if s.SPKI != req.SPKI || s.SelfSigned || s.Commit != "c0ffee" || s.Generation != 2 || len(s.Kept) != 0 {
		t.Errorf("status %+v", s)
	}
	if _, live, _ := h.Certificate(inst, name, domain); !live {
		t.Error("a real one does not count as live")
	}
	h.once(certs.ReasonRequest, s.CSR)
	h.once(certs.ReasonPublished, "generation 2")
	h.once(certs.ReasonSelfSigned, "")
	if len(h.told(certs.ReasonFetchFailed)) > 0 {
		t.Error("that a CA takes its time was reported as a failure")
	}
}

// Handshakes after a restart are served from the disk, before the first look.
func TestFirstHandshakeAfterRestart(t *testing.T) {
	h, ca := furnished(t)
	want := h.leaf()
	h.restart()
	h.want(byRequest(ca))
	h.serves(want)
	questions := h.questions()
	h.sync()
	h.stands(reconciler.CertificateLive, "")
	if h.questions() != questions {
		t.Error("a restart asked the source, though nothing was due")
	}
	c := (*certs.Manager)(h.Manager)
	if n := testing.AllocsPerRun(100, func() { _, _, _ = c.Certificate(inst, name, domain) }); n > 0 {
		t.Errorf("a handshake allocates %g times", n)
	}
}

// furnished is a host with a certificate of the CA.
func furnished(t testing.TB, change ...func(*host)) (*host, *authority) {
	t.Helper()
	h := newHost(t, change...)
	ca := newAuthority(t, h.now())
	h.want(byRequest(ca))
	h.sync()
	req, err := h.Request(inst, name)
	must(t, err)
	h.put("CHAIN", pemOf(ca.answer(req.PEM, h.now().Add(-time.Hour), h.now().Add(90*day)), ca.ca))
	must(t, h.Renew(t.Context(), inst, name, false))
	h.forgetEvents()
	return h, ca
}

// What the source may hold, and what comes of it: the last good one is served.
func TestCandidates(t *testing.T) {
	for what, tc := range map[string]struct {
		chain  func(h *host, ca *authority, key []byte) []byte
		reason string // of the phase; empty: it is taken
		event  string
		says   string
	}{
		"another key": {func(h *host, ca *authority, _ []byte) []byte {
			return pemOf(ca.issue(newKey(t).Public(), h.now(), h.now().Add(99*day), domain), ca.ca)
		}, "KeyMismatch", certs.ReasonRefused, "cert.csr"},
		"another name": {func(h *host, ca *authority, key []byte) []byte {
			return pemOf(ca.issue(public(t, key), h.now(), h.now().Add(99*day), "other.acme.com"), ca.ca)
		}, "NamesMissing", certs.ReasonRefused, "also data.acme.com"},
		"cut short": {func(h *host, ca *authority, key []byte) []byte {
			all := pemOf(ca.issue(public(t, key), h.now(), h.now().Add(99*day), domain), ca.ca)
			return all[:len(all)-100]
		}, "BadChain", certs.ReasonRefused, "cut"},
		"a page of HTML": {func(*host, *authority, []byte) []byte { return []byte("<!doctype html><title>Login</title>") },
			"BadChain", certs.ReasonRefused, "HTML"},
		"a key in the chain": {func(h *host, ca *authority, key []byte) []byte {
			return append(pemOf(ca.issue(public(t, key), h.now(), h.now().Add(99*day), domain), ca.ca), keyPEM(t, newKey(t))...)
		}, "KeyInChain", certs.ReasonKeyLeaked, "private key"},
		"expired": {func(h *host, ca *authority, key []byte) []byte {
			return pemOf(ca.issue(public(t, key), h.now().Add(-99*day), h.now().Add(-day), domain), ca.ca)
		}, "Expired", certs.ReasonRefused, "expired on"},
		"older than live": {func(h *host, ca *authority, key []byte) []byte {
			return pemOf(ca.issue(public(t, key), h.now().Add(-99*day), h.now().Add(99*day), domain), ca.ca)
		}, "OlderThanLive", certs.ReasonRefused, "issued before"},
		"an intermediate missing": {func(h *host, ca *authority, key []byte) []byte {
			return pemOf(ca.issue(public(t, key), h.now(), h.now().Add(99*day), domain))
		}, "ChainIncomplete", certs.ReasonRefused, "Acme Issuing"},
		"another CA": {func(h *host, _ *authority, key []byte) []byte {
			other := newAuthority(t, h.now())
			return pemOf(other.issue(public(t, key), h.now(), h.now().Add(99*day), domain), other.ca)
		}, "ChainIncomplete", certs.ReasonRefused, ""},
		"wrong order, with root": {func(h *host, ca *authority, key []byte) []byte {
			return pemOf(ca.root, ca.ca, ca.issue(public(t, key), h.now(), h.now().Add(99*day), domain))
		}, "", certs.ReasonPublished, "leaf first"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h, ca := furnished(t)
			before := h.leaf()
			h.put("CHAIN", tc.chain(h, ca, read(t, h.dir, inst, name, "key.pem")))
			err := h.Renew(t.Context(), inst, name, false)
			h.once(tc.event, tc.says)
			if tc.reason == "" {
				must(t, err)
				s := h.stands(reconciler.CertificateLive, "")
				if h.leaf().Equal(before) || len(s.Notes) == 0 {
					t.Errorf("it was not taken: %+v", s)
				}
				return
			}
			if err == nil || !strings.Contains(show(err), tc.says) {
				t.Errorf("renew: %v", err)
			}
			h.serves(before)
			s := h.stands(reconciler.CertificateDegraded, tc.reason)
			if len(s.Refused) == 0 || strings.Contains(show(err)+s.Refused[0].Found, "BEGIN") {
				t.Errorf("refused %+v", s.Refused)
			}
			_ = h.Renew(t.Context(), inst, name, false)
			h.restart() // and is not reported again by the next process
			h.want(byRequest(ca))
			_ = h.Renew(t.Context(), inst, name, false)
			h.serves(before)
			h.stands(reconciler.CertificateDegraded, tc.reason)
			h.once(tc.event, tc.says)
			good := ca.issue(before.PublicKey, h.now(), h.now().Add(99*day), domain)
			h.put("CHAIN", pemOf(good, ca.ca))
			must(t, h.Renew(t.Context(), inst, name, false))
			h.serves(good)
			h.stands(reconciler.CertificateLive, "")
		})
	}
}

func public(t testing.TB, key []byte) any {
	t.Helper()
	k, err := pair.ParseKey(key)
	must(t, err)
	return k.Public()
}

// Forced, an older certificate is taken, and one that somebody went back from.
func TestRollbackHolds(t *testing.T) {
	h, ca := furnished(t)
	first := h.leaf()
	second := ca.issue(first.PublicKey, h.now(), h.now().Add(99*day), domain)
	h.put("CHAIN", pemOf(second, ca.ca))
	must(t, h.Renew(t.Context(), inst, name, false))
	h.serves(second)
	kept := h.status().Kept
	if len(kept) != 1 {
		t.Fatalf("kept %v", kept)
	}
	third := ca.issue(first.PublicKey, h.now(), h.now().Add(99*day), domain)
	h.put("CHAIN", pemOf(third, ca.ca))
	must(t, h.Renew(t.Context(), inst, name, false))
	must(t, h.Rollback(t.Context(), inst, name, kept[0]+1)) // two steps
	h.serves(second)
	must(t, h.Rollback(t.Context(), inst, name, kept[0]))
	h.serves(first)
	must(t, h.Renew(t.Context(), inst, name, false))
	h.serves(first)
	h.restart()
	h.want(byRequest(ca))
	must(t, h.Renew(t.Context(), inst, name, false))
	h.serves(first)
	if err := h.Rollback(t.Context(), inst, name, 99); err == nil {
		t.Error("there is no generation 99")
	}
	must(t, h.Renew(t.Context(), inst, name, true))
	h.serves(third)
	older := ca.issue(first.PublicKey, h.now().Add(-30*day), h.now().Add(50*day), domain)
	h.put("CHAIN", pemOf(older, ca.ca))
	if err := h.Renew(t.Context(), inst, name, false); err == nil {
		t.Error("an older one is taken unasked")
	}
	must(t, h.Renew(t.Context(), inst, name, true))
	h.serves(older)
}

// A host that names no certificate has a self-signed one, and one that is wanted
// no more is not served, while its files stay.
func TestHostsAndLeaving(t *testing.T) {
	h := newHost(t)
	h.Set(inst, reconciler.WantedCertificates{Hosts: []string{"plain.acme.com"}})
	h.Set("other", reconciler.WantedCertificates{Hosts: []string{"plain.acme.com"}})
	h.sync()
	c, live, err := h.Certificate(inst, "", "plain.acme.com")
	must(t, err)
	if live || !pair.Covers(c.Leaf, "plain.acme.com") {
		t.Errorf("live %t, %v", live, c.Leaf.DNSNames)
	}
	h.stands(reconciler.CertificateSelfSigned, "")
	if _, _, err := h.Certificate("other", "", "plain.acme.com"); err == nil {
		t.Error("one instance has the certificate of another")
	}
	if info, err := os.Stat(filepath.Join(h.dir, inst)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory of the instance: %v, %v", info.Mode(), err)
	}
	h.Set(inst, reconciler.WantedCertificates{})
	if _, _, err := h.Certificate(inst, "", "plain.acme.com"); err == nil {
		t.Error("what is wanted no more is served")
	}
	h.sync()
	h.once(certs.ReasonForgotten, h.dir)
	h.Set(inst, reconciler.WantedCertificates{Hosts: []string{"plain.acme.com"}})
	h.sync()
	again, _, err := h.Certificate(inst, "", "plain.acme.com")
	must(t, err)
	if !again.Leaf.Equal(c.Leaf) {
		t.Error("its files did not stay")
	}
}

// Other domains: what is live keeps being served, and the request asks for them.
func TestDomainsChange(t *testing.T) {
	h, ca := furnished(t)
	before := h.leaf()
	spec := byRequest(ca)
	spec.Domains = []string{domain, "api.acme.com"}
	questions := h.questions()
	h.want(spec)
	h.sync()
	h.serves(before)
	s := h.stands(reconciler.CertificateDegraded, "NamesMissing")
	if h.questions() == questions {
		t.Error("the source was not asked at once")
	}
	req, err := h.Request(inst, name)
	must(t, err)
	if req.SPKI != s.SPKI || len(h.told(certs.ReasonRequest)) != 1 {
		t.Errorf("request for %s, events %v", req.SPKI, h.told(certs.ReasonRequest))
	}
	next := ca.answer(req.PEM, h.now(), h.now().Add(90*day))
	h.put("CHAIN", pemOf(next, ca.ca))
	must(t, h.Renew(t.Context(), inst, name, false))
	h.serves(next)
	h.stands(reconciler.CertificateLive, "")
}

// Another kind of key: the one that is there stays, and the status says so.
func TestAnotherKindOfKeyIsNotMade(t *testing.T) {
	h, ca := furnished(t)
	before := h.status().SPKI
	spec := byRequest(ca)
	spec.Key = string(pair.P384)
	h.want(spec)
	h.sync()
	s := h.status()
	if s.SPKI != before || len(s.Notes) != 1 || s.Notes[0].Code != "KeyKept" || s.Notes[0].Expected != "p384" {
		t.Errorf("key %s, notes %+v", s.SPKI, s.Notes)
	}
}

// The key by reference: the stand-in is for it too.
func TestKeyByReference(t *testing.T) {
	h := newHost(t)
	ca, key := newAuthority(t, h.now()), newKey(t)
	h.put("KEY", keyPEM(t, key))
	spec := byRequest(ca)
	spec.Privkey = "env://KEY"
	h.want(spec)
	h.sync()
	if notes := h.status().Notes; len(notes) != 1 || notes[0].Code != "SourceAdvice" {
		t.Errorf("notes %+v, want that a key in a variable shows", notes)
	}
	if pair.SPKI(h.leaf().PublicKey) != pair.SPKI(key.Public()) || h.status().CSR != "" {
		t.Error("the stand-in is for another key than the source has")
	}
	if _, err := h.Request(inst, name); err == nil {
		t.Error("there is a request")
	}
	first := ca.issue(key.Public(), h.now().Add(-time.Hour), h.now().Add(90*day), domain)
	h.put("CHAIN", pemOf(first, ca.ca))
	must(t, h.Renew(t.Context(), inst, name, false))
	h.serves(first)
	// The key was rotated, and its chain comes later.
	other := newKey(t)
	h.put("KEY", keyPEM(t, other))
	if err := h.Renew(t.Context(), inst, name, false); err == nil {
		t.Error("half a rotation was taken")
	}
	h.serves(first)
	second := ca.issue(other.Public(), h.now().Add(-time.Minute), h.now().Add(90*day), domain)
	h.put("CHAIN", pemOf(second, ca.ca))
	must(t, h.Renew(t.Context(), inst, name, false))
	h.serves(second)
	h.stands(reconciler.CertificateLive, "")
}

// Roots that the host trusts later make a candidate good that was refused.
func TestRootsAreAddedLater(t *testing.T) {
	roots := filepath.Join(t.TempDir(), "roots.pem")
	h := newHost(t, func(h *host) { h.opts.CAFile = roots })
	ca := newAuthority(t, h.now())
	write(t, pemOf(newAuthority(t, h.now()).root), roots)
	spec := byRequest(ca)
	spec.CA = ""
	h.want(spec)
	h.sync()
	req, err := h.Request(inst, name)
	must(t, err)
	real := ca.answer(req.PEM, h.now(), h.now().Add(90*day))
	h.put("CHAIN", pemOf(real, ca.ca))
	if h.Renew(t.Context(), inst, name, false) == nil {
		t.Fatal("a chain to an unknown root was taken")
	}
	h.stands(reconciler.CertificateAwaitsIssuer, "ChainIncomplete")
	h.sync()
	write(t, pemOf(ca.root), roots)
	h.sync()
	h.serves(real)
	h.stands(reconciler.CertificateLive, "")
	must(t, os.Remove(roots)) // without which nothing can be judged
	h.put("CHAIN", pemOf(ca.issue(real.PublicKey, h.now(), h.now().Add(91*day), domain), ca.ca))
	if err := h.Renew(t.Context(), inst, name, false); err == nil || !strings.Contains(err.Error(), "read trusted roots") {
		t.Errorf("without the host's roots: %v", err)
	}
	h.serves(real)
	h.stands(reconciler.CertificateDegraded, "HostProblem")
	if n := len(h.told(certs.ReasonRefused)); n != 1 {
		t.Errorf("%d refusals, want the one of before", n)
	}
}

// A real one is never followed by a self-signed one, whatever becomes of the
// directory or the spec.
func TestNeverOverARealOne(t *testing.T) {
	h, ca := furnished(t)
	real := h.leaf()
	h.want(desired.CertificateSpec{Domains: []string{domain}})
	h.sync()
	h.serves(real)
	h.stands(reconciler.CertificateDegraded, "RealStays")
	spec := byRequest(ca)
	h.stop()
	must(t, os.RemoveAll(filepath.Join(h.dir, inst)))
	h.put("CHAIN", nil)
	h.restart()
	h.want(spec)
	h.sync()
	if c, _, err := h.Certificate(inst, name, domain); err == nil {
		t.Errorf("%v is served where a real one was", c.Leaf.Subject)
	}
	h.stands(reconciler.CertificateAwaitsIssuer, "NotThereYet")
}

// What cannot be remembered is said, and keeps nothing from being served.
func TestMemoryFails(t *testing.T) {
	h, ca := furnished(t)
	live := h.leaf()
	h.restart()
	h.memory.breaks(errors.New("the database is closed"))
	h.want(byRequest(ca))
	if err := h.Sync(t.Context(), inst); err == nil || !strings.Contains(err.Error(), "the database is closed") {
		t.Errorf("look: %v", err)
	}
	h.serves(live)
	h.stands(reconciler.CertificateDegraded, "HostProblem")
	h.memory.breaks(nil)
	h.sync()
	h.stands(reconciler.CertificateLive, "")
}
