package reconciler

import (
	"fmt"
	"strings"
	"time"
)

// offer is what a registry says of the reference that a revision follows.
type offer struct {
	release Release // without a digest: nothing is known, err says why
	err     error
	// retired is the tag by which what runs was taken back, whatever the
	// reference means now.
	retired string
}

// Deferral says why a release that is there is not taken now.
type Deferral struct {
	// Reason is one word: Window, MinAge, Busy, Deprecated, Quarantined.
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// Until is when it is taken at the latest, or looked at again; zero: not
	// before the channel moves.
	Until time.Time `json:"until,omitzero"`
}

// The reasons of a Deferral.
const (
	DeferredWindow      = "Window"
	DeferredMinAge      = "MinAge"
	DeferredBusy        = "Busy"
	DeferredDeprecated  = "Deprecated"
	DeferredQuarantined = "Quarantined"
)

// picked is which digest the followed reference stands for in this pass; empty
// when nothing is known of it.
type picked struct {
	digest   string
	deferral *Deferral
	// askBusy says that only the application's own word is missing.
	askBusy bool
}

// pick chooses the digest of the followed reference. A revision that asks for
// another reference than what is applied is a person's decision and passes at
// once; what a channel means anew has to pass the gates. Whatever holds it
// back, what runs stays (law 14).
func (s situation) pick() picked {
	f := s.spec.Follow
	if f == nil || s.offer == nil {
		return picked{}
	}
	newest, running, same := s.offer.release.Digest, s.running(), s.runsRef()
	switch {
	case newest == "", running != "" && sameDigest(newest, running):
		return picked{digest: running}
	case f.Channel == "": // a pin; that its tag was moved does not move it
		if same {
			return picked{digest: running}
		}
		return picked{digest: newest}
	case running == "":
		return picked{digest: newest}
	}
	if d := s.unwanted(newest); d != nil {
		return picked{digest: running, deferral: d}
	}
	if !same || sameDigest(newest, s.going) || sameDigest(newest, s.memo.Now) {
		return picked{digest: newest}
	}
	if d := s.tooEarly(newest); d != nil {
		return picked{digest: running, deferral: d}
	}
	return s.unlessBusy(newest, running)
}

// runsRef reports whether what is applied follows the same reference.
func (s situation) runsRef() bool {
	_, same := s.last.Images[s.spec.Follow.Ref]
	return same && s.last.Spec.Follow != nil && s.last.Spec.Follow.Ref == s.spec.Follow.Ref
}

// running is the digest that the services which follow run now.
func (s situation) running() string {
	if s.spec.Follow == nil {
		return ""
	}
	ref := s.spec.Follow.Ref
	if last := s.last.Spec.Follow; last != nil && repositoryOf(last.Ref) == repositoryOf(ref) {
		ref = last.Ref
	}
	return s.last.Images[ref].Digest
}

// unwanted says why a digest is not taken whatever the time: it failed here, or
// its makers took it back.
func (s situation) unwanted(digest string) *Deferral {
	name := s.offer.release.name()
	for _, q := range s.memo.Quarantined {
		if sameDigest(q.Release, digest) {
			return &Deferral{Reason: DeferredQuarantined, Message: fmt.Sprintf("%s failed as generation %d and is not tried again: %s",
				name, q.Generation, q.Reason)}
		}
	}
	if tag := s.offer.release.Deprecated; tag != "" {
		return &Deferral{Reason: DeferredDeprecated, Message: fmt.Sprintf("%s was taken back by its makers (%s)", name, tag)}
	}
	return nil
}

// tooEarly says why a digest is not taken yet.
func (s situation) tooEarly(digest string) *Deferral {
	f, name := s.spec.Follow, s.offer.release.name()
	if until := s.offer.release.Seen.Add(f.MinAge); f.MinAge > 0 && s.now.Before(until) {
		return &Deferral{Reason: DeferredMinAge, Until: until.UTC(),
			Message: fmt.Sprintf("%s is to be %s old (upgrade.minAge)", name, f.MinAge)}
	}
	if f.Window != nil && !f.Window.Contains(s.now) {
		return &Deferral{Reason: DeferredWindow, Until: f.Window.Next(s.now).UTC(),
			Message: fmt.Sprintf("%s waits for the window %s (upgrade.window)", name, f.Window)}
	}
	return nil
}

// unlessBusy takes a digest unless the application asks to be left alone, and
// then at the latest when it has asked for as long as it may.
func (s situation) unlessBusy(newest, running string) picked {
	f := s.spec.Follow
	if f.Busy == nil {
		return picked{digest: newest}
	}
	since := s.now
	if b := s.memo.Busy; b != nil && sameDigest(b.Digest, running) && b.Since.Before(since) {
		since = b.Since
	}
	until := since.Add(f.Busy.MaxDefer)
	switch {
	case !s.now.Before(until), s.busy != nil && !*s.busy:
		return picked{digest: newest}
	}
	return picked{digest: running, askBusy: s.busy == nil, deferral: &Deferral{Reason: DeferredBusy, Until: until.UTC(),
		Message: fmt.Sprintf("%s waits while the application is busy (upgrade.busy)", s.offer.release.name())}}
}

// name is what people call a release.
func (r Release) name() string {
	if r.Version != "" {
		return "release " + r.Version
	}
	return "release " + shortDigest(r.Digest)
}

// sameDigest compares the digests of two references, whatever repository, or
// mirror of it, they are written with. Nothing known equals nothing.
func sameDigest(a, b string) bool {
	a, b = a[strings.LastIndexByte(a, '@')+1:], b[strings.LastIndexByte(b, '@')+1:]
	return a != "" && a == b
}

func shortDigest(digest string) string {
	digest = digest[strings.LastIndexByte(digest, '@')+1:]
	return digest[:min(len(digest), len("sha256:")+12)]
}

// repositoryOf is a reference without tag and digest.
func repositoryOf(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if colon := strings.LastIndexByte(ref, ':'); colon > strings.LastIndexByte(ref, '/') {
		return ref[:colon]
	}
	return ref
}
