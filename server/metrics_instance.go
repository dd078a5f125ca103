package server

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/reconciler"
)

// instanceDescs are the figures of how an instance is now.
type instanceDescs struct {
	info, inSync, healthy, suspended, held, generation, quarantined, passed, applied, condition,
	containers, match, passes, passTook, drift, driftAge *prometheus.Desc
}

func newInstanceDescs(f *family) instanceDescs {
	return instanceDescs{
		info:        f.of("instance_info", "1, with how an instance is.", "instance", "sync", "health", "phase"),
		inSync:      f.of("instance_in_sync", "1 while what runs is what the newest revision says.", "instance"),
		healthy:     f.of("instance_healthy", "1 while all containers are there and healthy; absent while suspended.", "instance"),
		suspended:   f.of("instance_suspended", "1 while nothing is done for an instance.", "instance"),
		held:        f.of("instance_held", "1 while an operator holds an older generation.", "instance"),
		generation:  f.of("instance_generation", "The applied generation.", "instance"),
		quarantined: f.of("instance_quarantined", "Failed generations that are not tried again.", "instance"),
		passed:      f.of("instance_last_pass_timestamp_seconds", "When an instance was looked at last.", "instance"),
		applied:     f.of("instance_last_applied_timestamp_seconds", "When the applied generation was applied.", "instance"),
		condition:   f.of("instance_condition", "1 while a condition is True, 0 while it is not, with why.", "instance", "type", "reason"),
		containers:  f.of("instance_containers", "Containers by what they do.", "instance", "state"),
		match:       f.of("image_digest_match", "1 while all containers of a service run the image of the applied generation.", "instance", "service"),
		passes:      f.of("reconcile_total", "Passes since the start of the daemon.", "instance", "result"),
		passTook:    f.of("reconcile_duration_seconds", "Time of a pass, with what it applied.", "instance"),
		drift:       f.of("drift_detected_total", "Things found changed by other hands since the start of the daemon.", "instance", "kind"),
		driftAge:    f.of("drift_since_timestamp_seconds", "Since when something is other than it should be and is not mended.", "instance"),
	}
}

func (d instanceDescs) send(out figureSink, s reconciler.Status) {
	out.gauge(d.info, 1, s.Name, string(s.Sync), string(s.Health), string(s.Phase))
	out.yes(d.inSync, s.Sync == reconciler.Synced, s.Name)
	if s.Health != reconciler.Suspended {
		out.yes(d.healthy, s.Health == reconciler.Healthy, s.Name)
	}
	out.yes(d.suspended, s.Phase == reconciler.PhaseSuspended, s.Name)
	out.yes(d.held, s.Hold != nil, s.Name)
	out.gauge(d.generation, float64(s.Generation), s.Name)
	out.gauge(d.quarantined, float64(len(s.Quarantined)), s.Name)
	out.time(d.passed, s.LastPass, s.Name)
	out.time(d.applied, s.AppliedAt, s.Name)
	for _, c := range s.Conditions {
		out.yes(d.condition, c.Status == "True", s.Name, c.Type, c.Reason)
	}
	states, match := map[string]int{}, map[string]bool{}
	for _, c := range s.Containers {
		states[stateOf(c)]++
		if c.Wanted != "" {
			same, before := match[c.Service]
			match[c.Service] = c.ImageID == c.Wanted && (same || !before)
		}
	}
	for state, n := range states {
		out.gauge(d.containers, float64(n), s.Name, state)
	}
	for service, same := range match {
		out.yes(d.match, same, s.Name, service)
	}
}

// stateOf is what a container does, in one word.
func stateOf(c reconciler.ContainerStatus) string {
	switch {
	case c.Done:
		return "done"
	case c.State == reconciler.StateRunning && c.Health != "":
		return string(c.Health)
	}
	return string(c.State)
}

// sendFigures sends every count, so that the first of a kind is an increase.
func (d instanceDescs) sendFigures(out figureSink, name string, f reconciler.Figures) {
	for _, result := range []reconciler.PassResult{reconciler.PassDone, reconciler.PassFailed, reconciler.PassStalled,
		reconciler.PassWaiting, reconciler.PassSuperseded, reconciler.PassUnreachable} {
		out.counter(d.passes, f.Passes[result], name, string(result))
	}
	out.histogram(d.passTook, f.Duration, name)
	for _, kind := range []string{"container", "network", "volume", "files"} {
		out.counter(d.drift, f.Drift[kind], name, kind)
	}
	out.time(d.driftAge, f.DriftSince, name)
}

// releaseDescs are the figures of a release that is followed.
type releaseDescs struct{ asked, failing, deferred, current, deprecated *prometheus.Desc }

func newReleaseDescs(f *family) releaseDescs {
	return releaseDescs{
		asked:      f.of("release_last_success_timestamp_seconds", "When the registry answered last.", "instance"),
		failing:    f.of("release_failing", "1 while the registry cannot be asked.", "instance"),
		deferred:   f.of("release_deferred", "1 while a newer release waits, with why.", "instance", "reason"),
		current:    f.of("release_current", "1 while what runs is what the reference means.", "instance"),
		deprecated: f.of("release_deprecated", "1 while what runs was taken back by its makers.", "instance"),
	}
}

func (d releaseDescs) send(out figureSink, s reconciler.Status) {
	r := s.Release
	if r == nil {
		return
	}
	out.time(d.asked, r.Asked, s.Name)
	out.yes(d.failing, r.Error != "", s.Name)
	out.yes(d.current, r.Running != "" && digestOf(r.Running) == digestOf(r.Newest), s.Name)
	out.yes(d.deprecated, r.Deprecated != "", s.Name)
	if r.Deferred != nil {
		out.gauge(d.deferred, 1, s.Name, r.Deferred.Reason)
	}
}

// digestOf takes the repository off: a mirror has another name.
func digestOf(ref string) string { return ref[strings.LastIndexByte(ref, '@')+1:] }
