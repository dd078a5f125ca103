package reconciler

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// Vouching judges who vouches for a revision.
type Vouching struct {
	// By says who of the signers in a file made a signature; an error says why
	// nobody did, or that the file cannot be read (desired/git).
	By func(sig desired.Signature, file, signers string) (who string, err error)
	// Host is what the host itself asks for, whatever the repository says.
	Host func() (HostSigners, error)
	// From is what is followed, as the host's settings say it.
	From string
}

// HostSigners are those of the host. Where it asks for signatures, its list is
// the only one that counts.
type HostSigners struct {
	Signed        bool
	File, Signers string
}

// Anchor is a list of signers that is in force: the host's, or that of the last
// revision of an instance that was vouched for.
type Anchor struct {
	Instance      string // empty: every one
	File, Signers string
	Commit        string // that was vouched for last
}

// trusted is the newest revision of an instance that somebody vouched for. What
// it says of signers is in force for the next one, so that nobody adds himself.
type trusted struct {
	Commit string    `json:"commit"`
	Time   time.Time `json:"time"`
	From   string    `json:"from"` // what was followed
	Who    string    `json:"who"`
	// Signed, File and Signers are its policy.
	Signed  bool   `json:"signed,omitempty"`
	File    string `json:"file,omitempty"`
	Signers string `json:"signers,omitempty"`
	// Says identifies everything that it says of the instance.
	Says string `json:"says"`
}

func (t *trusted) anchor(instance string) Anchor {
	return Anchor{Instance: instance, File: t.File + " as of " + desired.Revision{Commit: t.Commit}.Short(), Signers: t.Signers, Commit: t.Commit}
}

// maxBackdate is how much older a commit may be than the one that was vouched
// for before it: clocks of people differ. What is older was signed for another
// day, and somebody put the branch back to it.
const maxBackdate = time.Hour

// anchor is the list that is in force for an instance; nil: signatures are not
// asked for.
func (v *Vouching) anchor(instance string, known *trusted) (*Anchor, error) {
	if v.Host != nil {
		host, err := v.Host()
		if err != nil {
			return nil, err
		}
		if host.Signed {
			a := &Anchor{File: host.File, Signers: host.Signers}
			return a, nil
		}
	}
	if known != nil && known.Signed {
		a := known.anchor(instance)
		return &a, nil
	}
	return nil, nil
}

// accepts says who vouches for a commit, by an anchor.
func (v *Vouching) accepts(a Anchor, snapshot desired.Snapshot, known *trusted) (string, error) {
	if known != nil && a.Commit != "" && a.Commit == snapshot.Commit && known.Commit == a.Commit {
		return known.Who, nil // it was looked at when it came
	}
	who, err := v.By(snapshot.Signature, a.File, a.Signers)
	if err != nil {
		return "", err
	}
	if known != nil && known.From == v.From && known.Commit != snapshot.Commit && snapshot.Signature.Time.Before(known.Time.Add(-maxBackdate)) {
		return "", fmt.Errorf("it is of %s, older than %s, which was taken before it", snapshot.Signature.Time.UTC().Format(time.RFC3339),
			desired.Revision{Commit: known.Commit}.Short())
	}
	return who, nil
}

// vouch judges the signature of a revision that was read. What nobody vouches
// for is refused, unless it changes nothing of this instance.
func (r *Instance) vouch(snapshot desired.Snapshot, l loaded) loaded {
	asks := l.err == nil && l.spec.Policy != nil && l.spec.Policy.Signed
	if r.cfg.Vouch == nil {
		if asks {
			return r.unvouched(l, errors.New("nothing that judges signatures is at hand"), "")
		}
		return l
	}
	m, err := r.cfg.Store.memo(r.cfg.Name)
	if err != nil {
		l.err = sourceError{err}
		return l
	}
	a, err := r.cfg.Vouch.anchor(r.cfg.Name, m.Trusted)
	if err != nil {
		return r.unvouched(l, err, "mend policy.allowedSigners of agent.yaml on this host")
	}
	if a == nil && asks { // the first one vouches for itself: nothing was known before
		a = &Anchor{Instance: r.cfg.Name, File: l.spec.Policy.SignersFile, Signers: l.spec.Policy.Signers}
	}
	if a == nil {
		l.settled = l.err == nil && m.Trusted != nil
		return l
	}
	who, err := r.cfg.Vouch.accepts(*a, snapshot, m.Trusted)
	if err != nil {
		if l.err == nil && m.Trusted != nil && m.Trusted.Says == l.spec.Identity() {
			l.spec.Notes = append(l.spec.Notes[:len(l.spec.Notes):len(l.spec.Notes)],
				fmt.Sprintf("%s: nobody vouches for commit %s (%v); it changes nothing of this instance", desired.RuleSigned, l.rev.Short(), err))
			return l
		}
		return r.unvouched(l, err, "sign it with a key that "+a.File+" lists: git commit --amend -S, or git commit --allow-empty -S on top of it; who is listed there adds others by a signed commit")
	}
	if l.err == nil {
		l.settled, l.trust = true, trustIn(r.cfg.Vouch.From, who, snapshot, l.spec)
	}
	return l
}

func trustIn(from, who string, snapshot desired.Snapshot, spec desired.Spec) *trusted {
	t := &trusted{Commit: snapshot.Commit, Time: snapshot.Signature.Time.UTC(), From: from, Who: who, Says: spec.Identity()}
	if now := time.Now().UTC().Truncate(time.Second); t.Time.After(now) { // a clock that is ahead must not shut out those that are right
		t.Time = now
	}
	if p := spec.Policy; p != nil && p.Signed {
		t.Signed, t.File, t.Signers = true, p.SignersFile, p.Signers
	}
	return t
}

// unvouched refuses a revision, beside what else is wrong with it.
func (r *Instance) unvouched(l loaded, why error, hint string) loaded {
	p := desired.Problem{File: path.Join(r.cfg.Dir, "instance.yaml"), Field: desired.RuleSigned, Rule: desired.RuleSigned, Hint: hint,
		Text: fmt.Sprintf("nobody vouches for commit %s by %s: %v", l.rev.Short(), l.rev.Author, why)}
	var problems desired.Problems
	switch {
	case l.err == nil:
	case errors.As(l.err, &problems):
	default:
		return l // nothing could be read
	}
	l.spec, l.err, l.unsigned = desired.Spec{}, append(desired.Problems{p}, problems...), true
	return l
}

// remembersTrust writes down who vouched for what was read, for the next revision.
func (r *Instance) remembersTrust(l loaded) loaded {
	if !l.settled {
		return l
	}
	m, err := r.cfg.Store.memo(r.cfg.Name)
	if err == nil && (m.Trusted == nil) == (l.trust == nil) && (l.trust == nil || *m.Trusted == *l.trust) {
		return l
	}
	if err == nil {
		_, err = r.cfg.Store.update(r.cfg.Name, func(m *memo) { m.Trusted = l.trust })
	}
	if err != nil { // what cannot be remembered would be forgotten by the next one
		return loaded{err: sourceError{err}, rev: l.rev}
	}
	if l.trust != nil {
		r.log().WithField("signer", l.trust.Who).Info("Revision is vouched for")
	}
	return l
}

// Onto says whether a commit of this host's own may be put on top of a revision:
// who signs it vouches for all that is below. It returns the lists that are in
// force, none of which knows better.
func (v *Vouching) Onto(store *Store, snapshot desired.Snapshot) ([]Anchor, error) {
	names, err := store.instances()
	if err != nil {
		return nil, err
	}
	var all []Anchor
	for _, name := range append(names, "") {
		var known memo
		if name != "" {
			if known, err = store.memo(name); err != nil {
				return nil, err
			}
		}
		a, err := v.anchor(name, known.Trusted)
		if err != nil {
			return nil, err
		}
		if a == nil {
			continue
		}
		if _, err := v.accepts(*a, snapshot, known.Trusted); err != nil {
			return nil, fmt.Errorf("nobody vouches for commit %s by %s: %w", snapshot.Short(), snapshot.Author, err)
		}
		all = append(all, *a)
	}
	return all, nil
}

// withKept adds the instances that a revision drops for which nobody vouches:
// they stay where they were, and refuse it.
func (m *Manager) withKept(snapshot desired.Snapshot, found []Found) ([]Found, error) {
	v := m.cfg.Vouch
	if v == nil {
		return found, nil
	}
	names, err := m.cfg.Store.instances()
	if err != nil {
		return found, err
	}
	here := map[string]bool{}
	for _, f := range found {
		here[f.Name] = true
	}
	for _, name := range names {
		if here[name] {
			continue
		}
		known, err := m.cfg.Store.memo(name)
		if err != nil {
			return found, err
		}
		a, err := v.anchor(name, known.Trusted)
		if known.LastGood == 0 || err == nil && a == nil {
			continue
		}
		if err == nil { // else who loads tells that the host's list cannot be read
			if _, err = v.accepts(*a, snapshot, known.Trusted); err == nil {
				continue
			}
		}
		if _, t, err := m.cfg.Store.generation(name, known.LastGood); err == nil {
			found = append(slices.Clip(found), Found{Name: name, Dir: t.Spec.Dir})
		}
	}
	return found, nil
}
