package certs

import (
	"fmt"
	"strings"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/store"
	"github.com/fairlead/fairlead/reconciler"
)

// standing is where a certificate stands, in words.
type standing struct {
	phase                 reconciler.CertificatePhase
	reason, message, hint string
}

// refresh has the status say what is known now.
func (l *look) refresh() {
	s := reconciler.CertificateStatus{Name: l.id.name, Domains: l.spec.Domains, Source: sourceOf(l.spec), Commit: l.commit}
	var stands standing
	if l.store == nil {
		stands = standing{phase: reconciler.CertificatePending, reason: "HostProblem", message: message(l.broken())}
	} else {
		stands = l.stands()
		l.describe(&s)
		l.noteTrouble(&s, stands)
	}
	s.Phase, s.Reason, s.Message, s.Hint = stands.phase, stands.reason, stands.message, stands.hint
	s.Since = l.now
	l.mu.Lock()
	defer l.mu.Unlock()
	if was := l.status; was.Phase == s.Phase && was.Reason == s.Reason && !was.Since.IsZero() {
		s.Since = was.Since
	}
	l.certificate.status = s
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// describe fills in what is live and what is known of its successor.
func (l *look) describe(s *reconciler.CertificateStatus) {
	v := l.view()
	if g, any := l.store.Current(); any {
		l.describeLive(s, g)
		s.RenewAt = v.live.renewAt
	}
	s.LastAsked, s.Staged = l.memo.Asked, l.memo.Staged
	if l.asked.After(s.LastAsked) {
		s.LastAsked = l.asked
	}
	if at, ever := v.askAt(); ever && (modeOf(l.spec) == byRequest || modeOf(l.spec) == byURL) {
		s.NextTry = at
		if at.Before(l.now) {
			s.NextTry = l.now
		}
	}
	if a := l.acmeStatus(); a != nil {
		s.NextTry = a.NextTry
	}
	if r := l.memo.Refusal; r != nil {
		s.Refused = public(r.Problems)
	}
	s.Notes = public(l.memo.Notes)
	for _, text := range l.advice {
		s.Notes = append(s.Notes, reconciler.CertificateProblem{Code: "SourceAdvice", Found: text})
	}
	s.Targets = l.delivered.targets
	if modeOf(l.spec) == byRequest {
		s.CSR = l.csrFile()
	}
	l.noteKey(s)
}

// noteKey says that the key of this host is of another kind than is asked for
// now: a CA may be at work on it, so it is never replaced by itself.
func (l *look) noteKey(s *reconciler.CertificateStatus) {
	key, made := l.store.OwnKey()
	if m := modeOf(l.spec); !made || m != byRequest && m != selfSigned {
		return
	}
	if is := pair.AlgorithmOf(key.Public()); is != l.algorithm() {
		s.Notes = append(s.Notes, reconciler.CertificateProblem{Code: "KeyKept", Found: "the key of this host is " + string(is), Expected: string(l.algorithm()),
			Hint: "a key that is there is kept, since a CA may be signing its request; for another one give the certificate another name"})
	}
}

// noteTrouble says that the source gives nothing, where that is not why the
// certificate stands as it does: one that is good for months hides a URL that
// was mistyped until it is too late.
func (l *look) noteTrouble(s *reconciler.CertificateStatus, stands standing) {
	t := l.memo.Trouble
	if t == nil || strings.Contains(stands.message, t.Error) || t.Absent && !l.leaf().real {
		return
	}
	s.Notes = append(s.Notes, reconciler.CertificateProblem{Code: "FetchFailed", Found: fmt.Sprintf("%s; %d failures in a row, the last on %s", t.Error, t.Count, stamp(t.At))})
}

func (l *look) describeLive(s *reconciler.CertificateStatus, g store.Generation) {
	x, m := g.Pair.Leaf(), g.Meta
	s.SelfSigned, s.Issuer, s.Serial = g.Pair.SelfSigned(), x.Issuer.String(), x.SerialNumber.Text(16)
	s.Leaf, s.SPKI = pair.Fingerprint(x), pair.SPKI(x.PublicKey)
	s.Generation, s.Published, s.NotBefore, s.NotAfter = g.Number, m.Published, x.NotBefore.UTC(), x.NotAfter.UTC()
	if m.Commit != "" {
		s.Commit = m.Commit
	}
	for _, k := range l.store.Generations() {
		if k.Number != g.Number && (s.SelfSigned || !k.Pair.SelfSigned()) {
			s.Kept = append(s.Kept, k.Number)
		}
	}
}

// stands says where the certificate stands.
func (l *look) stands() standing {
	live, broken := l.leaf(), message(l.broken())
	if why := l.doubt(); why != "" {
		return standing{reconciler.CertificateClockSuspect, "ClockSuspect", why, "set the clock of this host; nothing is decided meanwhile, and what is served stays"}
	}
	switch {
	case live.real && l.now.After(live.notAfter):
		return standing{reconciler.CertificateExpired, "Expired", fmt.Sprintf("it expired on %s and is served all the same; %s", stamp(live.notAfter), l.whyNot()), l.hint()}
	case live.real:
		return l.standsReal(live, broken)
	case modeOf(l.spec) != selfSigned:
		return l.awaits(live, broken)
	case broken != "":
		return l.hurt(live, broken)
	case live.none():
		return standing{phase: reconciler.CertificatePending}
	}
	return l.servedOr(live, standing{phase: reconciler.CertificateSelfSigned})
}

// hurt stands for what is wrong with this host.
func (l *look) hurt(live leaf, broken string) standing {
	phase := reconciler.CertificateDegraded
	if live.none() {
		phase = reconciler.CertificatePending
	}
	return standing{phase, "HostProblem", broken, ""}
}

// awaits stands for a certificate of which nothing real was there yet.
func (l *look) awaits(live leaf, broken string) standing {
	s := standing{phase: reconciler.CertificateAwaitsIssuer, reason: "NotThereYet", message: "there is no certificate at " + sourceOf(l.spec) + " yet", hint: l.hint()}
	_, why := acmeTrouble(l.acmeStatus())
	switch r, t := l.memo.Refusal, l.memo.Trouble; {
	case broken != "":
		return l.hurt(live, broken)
	case r != nil:
		s.reason, s.message, s.hint = string(r.Problems[0].Code), r.Problems[0].Found, r.Problems[0].Hint
	case !l.memo.Staged.IsZero():
		s.reason, s.message, s.hint = "Staged", "the certificate is there, and valid from "+stamp(l.memo.Staged)+" on", ""
	case t != nil && t.Final:
		s.reason, s.message, s.hint = "Stalled", t.Error, "it is asked again when the desired state changes"
	case t != nil && !t.Absent:
		s.reason, s.message, s.hint = "FetchFailed", t.Error, ""
	case why != "":
		s.reason, s.message, s.hint = "OrderFailed", why, ""
	case modeOf(l.spec) == byACME:
		s.reason, s.message = "Ordering", "nothing was issued yet"
	}
	if live.none() {
		s.message += "; nothing is served"
	}
	return s
}

func (l *look) hint() string {
	if modeOf(l.spec) == byRequest {
		return "have " + l.csrFile() + " signed, and the chain put there"
	}
	return ""
}

// standsReal stands for a real certificate that is valid.
func (l *look) standsReal(live leaf, broken string) standing {
	bad := func(reason, message, hint string) standing {
		return standing{reconciler.CertificateDegraded, reason, message, hint}
	}
	due := !l.now.Before(live.renewAt)
	_, why := acmeTrouble(l.acmeStatus())
	switch r, t := l.memo.Refusal, l.memo.Trouble; {
	case !live.covers:
		return bad("NamesMissing", "what is served is not for all of its domains; "+l.whyNot(), l.hint())
	case r != nil:
		return bad(string(r.Problems[0].Code), "the newest certificate is refused: "+r.Problems[0].Found, r.Problems[0].Hint)
	case modeOf(l.spec) == selfSigned:
		return bad("RealStays", "it is to be self-signed, and a self-signed one never takes the place of a real one", "remove "+l.dir+" while the daemon is stopped if that is meant")
	case broken != "":
		return bad("HostProblem", broken, "")
	case t != nil && t.Final:
		return bad("Stalled", t.Error, "it is asked again when the desired state changes")
	case due && t != nil:
		return bad("FetchFailed", t.Error, "")
	case due && why != "":
		return bad("OrderFailed", why, "")
	case live.hurry(l.now):
		return bad("NotRenewed", fmt.Sprintf("it expires on %s; %s", stamp(live.notAfter), l.whyNot()), l.hint())
	}
	return l.servedOr(live, standing{phase: reconciler.CertificateLive})
}

// servedOr is where a certificate stands unless somebody does not serve it.
func (l *look) servedOr(live leaf, s standing) standing {
	if len(l.spec.Deliver)+len(l.spec.Reload) == 0 || l.delivered.all(live.fingerprint) {
		return s
	}
	s.phase, s.reason, s.message = reconciler.CertificateDegraded, "Delivering", "it is being brought to who serves it"
	if l.delivered.of != live.fingerprint {
		return s
	}
	for _, t := range l.delivered.targets {
		if !t.OK {
			s.reason, s.message = "NotServed", t.Name+": "+t.Message
			break
		}
	}
	return s
}
