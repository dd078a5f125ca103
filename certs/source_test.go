package certs_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/certs"
	"github.com/fairlead/fairlead/certs/source"
	"github.com/fairlead/fairlead/reconciler"
)

// However the questions and the looks of the loop fall, a new certificate is
// served within one interval.
func TestServedWithinOneInterval(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		ca := newAuthority(t, h.now())
		spec := byRequest(ca)
		spec.Every = 10 * time.Second
		h.want(spec)
		h.run()
		synctest.Wait()
		h.obtained(ca, 90*day)
		h.pass(3 * time.Second)
		must(t, h.Renew(t.Context(), inst, name, false)) // somewhere between two looks
		synctest.Wait()
		for range 5 {
			req, err := h.Request(inst, name)
			must(t, err)
			next := ca.answer(req.PEM, h.now(), h.now().Add(90*day))
			h.put("CHAIN", pemOf(next, ca.ca))
			h.pass(spec.Every)
			h.serves(next)
		}
		h.stop()
	}, each(10*time.Second))
}

// A URL that gives nothing any more shows while what is live is good for months.
func TestTroubleShowsWhileLive(t *testing.T) {
	h := newHost(t)
	ca := newAuthority(t, h.now())
	h.want(byRequest(ca))
	h.sync()
	req, err := h.Request(inst, name)
	must(t, err)
	h.put("CHAIN", pemOf(ca.answer(req.PEM, h.now(), h.now().Add(90*day)), ca.ca))
	must(t, h.Renew(t.Context(), inst, name, false))
	if s := h.stands(reconciler.CertificateLive, ""); len(s.Notes) != 0 {
		t.Errorf("notes %+v, want none", s.Notes)
	}
	h.lose("CHAIN")
	if err := h.Renew(t.Context(), inst, name, false); source.Result(err) != "not_found" {
		t.Fatalf("renew of nothing: %v", err)
	}
	s := h.stands(reconciler.CertificateLive, "")
	at := slices.IndexFunc(s.Notes, func(p reconciler.CertificateProblem) bool { return p.Code == "FetchFailed" })
	if at < 0 || !strings.Contains(s.Notes[at].Found, "CHAIN") || !strings.Contains(s.Notes[at].Found, "1 failures") {
		t.Errorf("notes %+v, want that the source gives nothing", s.Notes)
	}
}

func (h *host) lose(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.env, name)
}

// Who may write above the certificates could put one in the place of another.
func TestClosesTheDirectoriesAbove(t *testing.T) {
	h := newHost(t)
	h.want(byRequest(newAuthority(t, h.now())))
	h.sync()
	above := filepath.Join(h.opts.Dir, inst)
	must(t, os.Chmod(above, 0o777))
	h.jump(2 * time.Minute)
	h.sync()
	info, err := os.Stat(above)
	must(t, err)
	if info.Mode().Perm() != 0o755 {
		t.Errorf("mode %04o, want 0755", info.Mode().Perm())
	}
	h.once(certs.ReasonDrift, above)
	if os.Geteuid() != 0 {
		return // only root gives a directory away
	}
	must(t, os.Chown(above, 1000, -1))
	h.jump(2 * time.Minute)
	if err := h.Sync(t.Context(), inst); err == nil || !strings.Contains(err.Error(), "belongs to user 1000") {
		t.Errorf("another owner: %v", err)
	}
	h.once(certs.ReasonProblem, "chown it to user 0")
	must(t, os.Chown(above, 0, -1))
	h.jump(2 * time.Minute)
	h.sync()
}
