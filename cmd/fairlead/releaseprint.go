package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// release writes what an instance follows, runs and could run.
func (d detail) release(s reconciler.Status) {
	r := s.Release
	if r == nil {
		return
	}
	what := r.Ref
	if r.Channel == "" {
		what += " (pinned)"
	}
	d.field("release", what)
	d.field("running", called(r.RunningRelease, r.Running))
	if r.Newest != "" && digestOf(r.Newest) != digestOf(r.Running) {
		d.field("newest", called(r.NewestRelease, r.Newest)+seen(r.NewestSeen, d.now))
	}
	if r.Deferred != nil {
		d.field("deferred", deferral(*r.Deferred, d.now))
	}
	if r.Deprecated != "" {
		d.field("deprecated", r.Deprecated+": what runs was taken back by its makers")
	}
	if r.Error != "" {
		d.field("registry", "does not answer"+sinceWhen(r.Since, d.now)+": "+firstLine(r.Error))
	}
}

// called is a release by its version, where it has one, and its digest.
func called(version, digest string) string {
	digest = shortDigest(digest)
	switch {
	case digest == "":
		return "nothing yet"
	case version == "" || strings.HasPrefix(digest, version):
		return digest
	}
	return version + " (" + digest + ")"
}

// digestOf takes the repository off.
func digestOf(ref string) string { return ref[strings.LastIndexByte(ref, '@')+1:] }

// shortDigest is what people compare.
func shortDigest(digest string) string {
	digest = digestOf(digest)
	return digest[:min(len(digest), len("sha256:")+12)]
}

func seen(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return ", seen " + age(at, now) + " ago"
}

func sinceWhen(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return " since " + at.UTC().Format(time.RFC3339) + " (" + age(at, now) + ")"
}

// deferral says what a release waits for, and how long.
func deferral(w reconciler.Deferral, now time.Time) string {
	text := w.Message
	if !w.Until.IsZero() {
		text += ", until " + w.Until.UTC().Format(time.RFC3339) + " (in " + age(now, w.Until) + ")"
	}
	return text
}

// canWait reports whether apply --now would take a release at once. What failed
// or was taken back is not a matter of time.
func canWait(w *reconciler.Deferral) bool {
	return w != nil && w.Reason != reconciler.DeferredDeprecated && w.Reason != reconciler.DeferredQuarantined
}

// releaseCell is a release in a column: the channel with what runs.
func releaseCell(r *reconciler.ReleaseStatus) string {
	if r == nil {
		return "-"
	}
	running := r.RunningRelease
	if running == "" || strings.HasPrefix(running, "sha256:") {
		running = strings.TrimPrefix(shortDigest(r.Running), "sha256:")
	}
	if r.Channel == "" {
		return strings.TrimSpace("pinned " + running)
	}
	return strings.TrimSpace(r.Channel + " " + running)
}

// longest is the longest interruption of an apply.
func longest(gaps []reconciler.Gap) (d time.Duration) {
	for _, g := range gaps {
		d = max(d, g.For)
	}
	return d
}

// frontLines say where requests come in, when somebody has to know.
func frontLines(list []server.Listener) (open string, closed []string) {
	var at []string
	for _, l := range list {
		if l.Open {
			at = append(at, l.Name+" "+l.Address)
		}
		if l.Error != "" {
			closed = append(closed, fmt.Sprintf("the front cannot take %s: %s; it is tried again", l.Name, l.Error))
		}
	}
	return commas(at), closed
}
