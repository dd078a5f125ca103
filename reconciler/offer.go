package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// decideNow decides with what the registry and, where only that is missing, the
// application say.
func (r *Instance) decideNow(ctx context.Context, l loaded, m memo) (decision, memo, error) {
	s := situation{spec: l.spec, loadErr: l.err, memo: m, lastSpec: r.lastSpec(), last: r.lastTarget(), now: time.Now()}
	if l.err == nil {
		// An old answer would make a generation that the next pass replaces. But
		// who suspends does not want to wait for a registry that is down.
		_, rests := suspended(s)
		fresh := !rests && (r.forced || l.spec.Follow != nil && !s.runsRef())
		s.offer = r.askAll(ctx, s, Ask{Fresh: fresh})
	}
	d := decide(s)
	if d.askBusy {
		busy := r.askBusy(ctx, *l.spec.Follow.Busy, l.spec.Sensitive)
		s.busy = &busy
		if busy && (m.Busy == nil || !sameDigest(m.Busy.Digest, s.running())) {
			var err error
			if s.memo, err = r.cfg.Store.update(r.cfg.Name, func(m *memo) {
				m.Busy = &busySince{s.running(), s.now.UTC()}
			}); err != nil {
				return d, m, err
			}
		}
		d = decide(s)
	}
	if s.memo.Busy != nil && s.offer != nil && sameDigest(s.offer.release.Digest, s.running()) { // nothing waits any more
		var err error
		if s.memo, err = r.cfg.Store.update(r.cfg.Name, func(m *memo) { m.Busy = nil }); err != nil {
			return d, m, err
		}
	}
	r.picked = d.digest
	r.showRelease(l, s, d)
	return d, s.memo, nil
}

// reshowRelease shows what is followed after an apply changed what runs.
func (r *Instance) reshowRelease(ctx context.Context) {
	m, err := r.cfg.Store.memo(r.cfg.Name)
	if err != nil || r.loaded.err != nil {
		return
	}
	idle := false
	s := situation{spec: r.loaded.spec, memo: m, lastSpec: r.lastSpec(), last: r.lastTarget(), now: time.Now(),
		busy: &idle}
	s.offer = r.askAll(ctx, s, Ask{})
	r.showRelease(r.loaded, s, decide(s))
}

// ask returns what the registry says of what a specification follows.
func (r *Instance) ask(ctx context.Context, spec desired.Spec, fresh bool) *offer {
	return r.askAs(ctx, spec, Ask{Fresh: fresh})
}

func (r *Instance) askAs(ctx context.Context, spec desired.Spec, how Ask) *offer {
	f := spec.Follow
	if f == nil || r.cfg.Releases == nil {
		return nil
	}
	how.Every, how.Platform = f.Every, platformOf(spec)
	release, err := r.cfg.Releases.Release(ctx, f.Ref, how)
	return &offer{release: release, err: err}
}

// askAll also asks whether what runs was taken back by its makers, which may be
// something else than what the reference means now.
func (r *Instance) askAll(ctx context.Context, s situation, how Ask) *offer {
	o := r.askAs(ctx, s.spec, how)
	if o == nil {
		return nil
	}
	running := s.running()
	switch {
	case running == "":
	case sameDigest(running, o.release.Digest):
		o.retired = o.release.Deprecated
	default:
		how.Every, how.Fresh = s.spec.Follow.Every, how.Fresh && o.failed() == nil // one wait for a registry that is away is enough
		if was, err := r.cfg.Releases.Release(ctx, running, how); err == nil {
			o.retired = was.Deprecated
		}
	}
	return o
}

// platformOf is the platform of the services that follow; empty: this host's.
func platformOf(spec desired.Spec) string {
	for _, name := range spec.ServiceNames() {
		if s := spec.Services[name]; s.Image == spec.Follow.Ref && s.Platform != "" {
			return s.Platform
		}
	}
	return ""
}

// busyTimeout bounds the question to the application.
const busyTimeout = 10 * time.Second

// askBusy asks the application whether it wants to be left alone. One that
// cannot be asked does not hold an upgrade back (it may be what mends it).
func (r *Instance) askBusy(ctx context.Context, check desired.BusyCheck, sensitive []string) bool {
	if r.cfg.Prober == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	base := "http://" + check.Host
	if check.TLS {
		base = "https://" + check.Host
	}
	if check.Service != "" {
		have, err := r.cfg.Driver.Observe(ctx, r.cfg.Name, false)
		if err != nil {
			return false
		}
		endpoints := endpointsOf(have, check.Service, check.Port, nil)
		if len(endpoints) == 0 {
			return false
		}
		base = "http://" + endpoints[0].Address.String()
	}
	busy, err := r.cfg.Prober.Busy(ctx, base, check)
	if err != nil {
		r.cfg.Log.WithError(redactError(sensitive, err)).Warn("Ask whether the application is busy; the upgrade goes on")
	}
	return busy && err == nil
}

// fixed is what is known of the images of a specification before anything is
// fetched: the digest of what it follows.
func (r *Instance) fixed(spec desired.Spec, digest string) map[string]Image {
	if spec.Follow == nil || digest == "" {
		return nil
	}
	return map[string]Image{spec.Follow.Ref: imageOf(r.lastTarget(), digest)}
}

// imageOf is the image of a digest, with its ID where the target knows it.
func imageOf(last Target, digest string) Image {
	img := Image{Digest: digest}
	for _, known := range last.Images {
		if sameDigest(known.Digest, digest) {
			img.ID = known.ID
		}
	}
	return img
}

func (r *Instance) lastTarget() Target {
	if r.good == nil {
		return Target{}
	}
	return r.good.target
}

// releaseName is what people call a digest: its version where the registry
// told it.
func (r *Instance) releaseName(spec desired.Spec, digest string) string {
	if spec.Follow == nil || digest == "" {
		return ""
	}
	if o := r.ask(context.Background(), spec, false); o != nil && o.release.Version != "" && sameDigest(o.release.Digest, digest) {
		return o.release.Version
	}
	if r.good != nil && r.good.Release != "" && r.good.target.Spec.Follow != nil &&
		sameDigest(r.good.target.Images[r.good.target.Spec.Follow.Ref].Digest, digest) {
		return r.good.Release
	}
	return shortDigest(digest)
}

// showRelease writes what is followed into the status.
func (r *Instance) showRelease(l loaded, s situation, d decision) {
	if l.err != nil {
		return
	}
	if s.offer == nil {
		r.setStatus(func(st *Status) { st.Release = nil; st.drop(ReleaseReady) })
		return
	}
	f, rel := l.spec.Follow, s.offer.release
	show := &ReleaseStatus{Ref: f.Ref, Channel: f.Channel, Running: s.running(), Newest: rel.Digest, NewestRelease: rel.Version,
		NewestSeen: rel.Seen, Deferred: d.deferral, Asked: rel.Asked, Since: rel.Since}
	if r.good != nil {
		show.RunningRelease = r.good.Release
	}
	if f.Window != nil {
		show.Window = f.Window.String()
	}
	show.Deprecated = s.offer.retired
	if err := s.offer.failed(); err != nil {
		show.Error = err.Error()
	}
	status, reason, message := releaseCondition(f, s.offer, show, s.runsRef())
	r.setStatus(func(st *Status) { st.Release = show; st.set(s.now, ReleaseReady, status, reason, message) })
}

func (o *offer) failed() error {
	if o.err != nil {
		return o.err
	}
	return o.release.Err
}

// releaseCondition says how it stands with what is followed; stands says that
// what is applied follows the same reference.
func releaseCondition(f *desired.Follow, o *offer, show *ReleaseStatus, stands bool) (ConditionStatus, string, string) {
	status, reason, message := followCondition(f, o, show, stands)
	if show.Deprecated == "" {
		return status, reason, message
	}
	taken := "what runs was taken back by its makers (" + show.Deprecated + ")"
	if status == "True" { // all is as it was asked for, and yet
		return "False", "Deprecated", taken
	}
	return status, reason, message + "; " + taken
}

func followCondition(f *desired.Follow, o *offer, show *ReleaseStatus, stands bool) (ConditionStatus, string, string) {
	other := !sameDigest(show.Running, show.Newest)
	switch err := o.failed(); {
	case show.Deferred != nil:
		message := show.Deferred.Message
		if until := show.Deferred.Until; !until.IsZero() {
			message += "; until " + until.Format(time.RFC3339)
		}
		return "False", show.Deferred.Reason, message
	case err != nil && show.Running != "":
		return "Unknown", "RegistryUnreachable", fmt.Sprintf("since %s; what runs stays: %v", o.release.Since.UTC().Format(time.RFC3339), err)
	case err != nil:
		return "Unknown", "RegistryUnreachable", err.Error()
	case show.Newest == "":
		return "Unknown", "NotAsked", "the registry was not asked yet what " + f.Ref + " is"
	case f.Channel == "" && stands && other && show.Running != "" && show.Newest != "":
		return "True", "Pinned", fmt.Sprintf("%s means another digest now (%s); the pin keeps what runs", f.Ref, shortDigest(show.Newest))
	case f.Channel == "" && !other:
		return "True", "Pinned", f.Ref
	case other:
		return "False", "Waiting", fmt.Sprintf("%s means %s, which is not applied yet", f.Ref, o.release.name())
	}
	return "True", "Current", fmt.Sprintf("%s is %s", f.Ref, o.release.name())
}

// ErrNoChannel says that no release can wait, since none arrives by itself.
var ErrNoChannel = errors.New("it follows no channel")

// UpgradeNow takes the release that waits for its time without waiting, and ends
// the hold of an older one.
func (r *Instance) UpgradeNow(ctx context.Context, by string) error {
	l := r.read(ctx, "")
	if l.err != nil {
		return l.err
	}
	o := r.ask(ctx, l.spec, true)
	switch {
	case o == nil || l.spec.Follow.Channel == "":
		return fmt.Errorf("upgrade %s now: %w", r.cfg.Name, ErrNoChannel)
	case o.release.Digest == "":
		return fmt.Errorf("upgrade %s now: %w", r.cfg.Name, o.failed())
	}
	if _, err := r.cfg.Store.update(r.cfg.Name, func(m *memo) { m.Now, m.Hold = o.release.Digest, nil }); err != nil {
		return err
	}
	r.tell(CorrelationOf(ctx), "UpgradeAsked", fmt.Sprintf("%s asks for %s without waiting", by, o.release.name()), l.rev, 0)
	return nil
}

// previewImages is what the references of a specification would mean if it were
// applied now; what is not known stays open.
func previewImages(last Target, spec desired.Spec, digest string) map[string]Image {
	images := map[string]Image{}
	if last.Spec.Hash() == spec.Hash() {
		maps.Copy(images, last.Images)
	}
	if spec.Follow == nil || digest == "" {
		return images
	}
	images[spec.Follow.Ref] = imageOf(last, digest)
	return images
}
