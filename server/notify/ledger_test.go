package notify

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

func TestAnInstanceThatIsGoneIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.every = time.Minute
		w.set(sick("acme"))
		w.start()
		w.manager.Set("acme", []desired.NotifySpec{hook("a")})
		time.Sleep(5 * time.Minute)
		w.want("it is sick", "degraded")
		gone := well("acme")
		gone.Sync, gone.Phase = reconciler.Unknown, reconciler.PhaseStalled
		gone.Conditions = []reconciler.Condition{{Type: reconciler.SourceReady, Status: "False", Reason: "InstanceGone", Message: "its directory is gone"}}
		w.set(gone)
		time.Sleep(72 * time.Hour)
		w.want("it is gone, and nothing is known of what runs", "source")
		w.stop()
	})
}

// What cannot be observed is neither well nor over.
func TestUnknownEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(sick("acme"))
		w.start()
		w.manager.Set("acme", []desired.NotifySpec{hook("a")})
		time.Sleep(5 * time.Minute)
		w.want("it is sick", "degraded")
		unknown := well("acme")
		unknown.Conditions = []reconciler.Condition{{Type: reconciler.ContainersReady, Status: "Unknown", Reason: "EngineUnreachable"}}
		w.set(unknown)
		time.Sleep(time.Hour)
		w.want("nobody knows")
		w.set(sick("acme"))
		time.Sleep(time.Hour)
		w.want("it is as it was")
		w.stop()
	})
}

func TestWhatAStatusSays(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	cert := func(left, life time.Duration, phase reconciler.CertificatePhase) reconciler.Status {
		s := well("acme")
		s.Certificates = []reconciler.CertificateStatus{{Name: "data", Phase: phase, Domains: []string{"data.acme.com"}, Source: "https://pki", NotAfter: now.Add(left), NotBefore: now.Add(left - life)}}
		return s
	}
	selfSigned := cert(day, 90*day, reconciler.CertificateSelfSigned)
	selfSigned.Certificates[0].SelfSigned = true
	waits := well("acme")
	waits.Release = &reconciler.ReleaseStatus{Newest: "app@sha256:1", NewestSeen: now.Add(-80 * time.Hour), Deferred: &reconciler.Deferral{Reason: reconciler.DeferredWindow}}
	soon, condemned := waits, waits
	soon.Release = &reconciler.ReleaseStatus{Newest: "x", NewestSeen: now.Add(-20 * time.Hour), Deferred: waits.Release.Deferred}
	condemned.Release = &reconciler.ReleaseStatus{Newest: "x", NewestSeen: now.Add(-99 * time.Hour), Deferred: &reconciler.Deferral{Reason: reconciler.DeferredQuarantined}}
	data := well("acme")
	data.Attachments = []reconciler.AttachmentStatus{{Name: "shop", Phase: reconciler.AttachmentDegraded, Reason: "RunFailed"}, {Name: "erp", Phase: reconciler.AttachmentLive}}
	applying := sick("acme")
	applying.Phase = reconciler.PhaseApplying
	for what, tt := range map[string]struct {
		s    reconciler.Status
		want string // keys and stamps
	}{
		"a year, 20 days left":     {cert(20*day, 365*day, reconciler.CertificateLive), "certificate data/30 days"},
		"a year, 2 days left":      {cert(2*day, 365*day, reconciler.CertificateLive), "certificate data/3 days"},
		"a year, it is over":       {cert(-day, 365*day, reconciler.CertificateExpired), "certificate data/0 days"},
		"90 days, 20 left":         {cert(20*day, 90*day, reconciler.CertificateLive), ""},
		"90 days, 10 left":         {cert(10*day, 90*day, reconciler.CertificateLive), "certificate data/14 days"},
		"6 days, 3 left":           {cert(3*day, 6*day, reconciler.CertificateLive), ""},
		"6 days, an hour left":     {cert(time.Hour, 6*day, reconciler.CertificateLive), "certificate data/1 days"},
		"a successor that is bad":  {cert(300*day, 365*day, reconciler.CertificateDegraded), "certificate data/Degraded "},
		"awaiting its issuer":      {cert(300*day, 365*day, reconciler.CertificateAwaitsIssuer), ""},
		"self-signed":              {selfSigned, ""},
		"a release that waits":     {waits, "deferred/app@sha256:1"},
		"a release since today":    {soon, "deferred/x"}, // which channels want to know later
		"a release in quarantine":  {condemned, ""},
		"a connector that fails":   {data, "attachment shop/Degraded RunFailed"},
		"sick":                     {sick("acme"), "containers/"},
		"sick while it is applied": {applying, ""},
		"well":                     {well("acme"), ""},
	} {
		var got []string
		for _, tr := range troubles(tt.s, now) {
			got = append(got, tr.Key+"/"+tr.Stamp)
			if tr.Notice.Title == "" {
				t.Errorf("%s: no title", what)
			}
		}
		if strings.Join(got, ", ") != tt.want {
			t.Errorf("%s: %q, want %q", what, got, tt.want)
		}
	}
}

// Whatever comes in whatever order, nobody is told the same twice without that it
// was over in between, or that it is said to be a reminder.
func TestNoAnnouncementTwice(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		led, now := &ledger{}, time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
		to := []listener{{id: "a", remind: 24 * time.Hour}, {id: "b"}}
		open := map[string]bool{} // what was told and is not over, by channel, key and stamp
		generation := 0
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(1, 4000).Draw(r, "seconds")) * time.Second)
			var list []out
			if rapid.Bool().Draw(r, "event") {
				reason := rapid.SampledFrom([]string{"Applied", "Failed", "RolledBack", "Quarantined", "Refused"}).Draw(r, "reason")
				if reason == "Applied" {
					generation++
				}
				h, _ := happened(reconciler.Event{Instance: "acme", Reason: reason, Revision: rapid.SampledFrom([]string{"x", "y"}).Draw(r, "rev"), Generation: generation, At: now}, nil)
				list = led.happen(now, h, to)
			} else {
				s := rapid.SampledFrom([]reconciler.Status{well("acme"), sick("acme")}).Draw(r, "status")
				s.LastPass = now
				s.Phase = rapid.SampledFrom([]reconciler.Phase{reconciler.PhaseIdle, reconciler.PhaseQuarantined}).Draw(r, "phase")
				v, _ := look(s, now)
				list = led.see(now, v, to)
			}
			for _, o := range list {
				id := o.channel + " " + string(o.notice.Kind) + " " + o.notice.Commit + " " + o.notice.Title
				if o.notice.Kind == Recovered {
					clear(open)
					continue
				}
				if open[id] && !o.notice.Reminder {
					r.Fatalf("%s is told twice", id)
				}
				if o.channel == "b" && o.notice.Reminder {
					r.Fatalf("%s reminds who wants no reminders", id)
				}
				open[id] = true
			}
		}
	})
}
