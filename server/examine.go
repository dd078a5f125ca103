package server

import (
	"fmt"
	"strings"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// When something is worth a warning.
const (
	certificateNear = 14 * 24 * time.Hour // before it ends
	dataOld         = 24 * time.Hour      // since a connector with a schedule went well
	loopLate        = 15 * time.Minute    // since an instance was looked at
	sourceOld       = time.Hour           // since the repository was read
)

// examiner collects what is not as it should be.
type examiner struct {
	now     time.Time
	found   []finding
	figures map[string]map[string]int64
}

func (e *examiner) find(service string, severity Severity, public, detail string) {
	e.found = append(e.found, finding{service, severity, public, detail})
}

func (e *examiner) count(service, what string, n int64) {
	if e.figures[service] == nil {
		e.figures[service] = map[string]int64{}
	}
	e.figures[service][what] += n
}

// examine looks at everything once. It asks nobody but this process: what it
// tells is what the loops know.
func (a *API) examine(now time.Time) ([]finding, map[string]map[string]int64) {
	e := &examiner{now: now, figures: map[string]map[string]int64{}}
	e.repository(a.cfg.Fleet)
	for _, r := range a.cfg.Fleet.Instances() {
		s := r.Status()
		e.loop(s)
		e.containers(s)
		e.certificates(s)
		e.attachments(s)
	}
	a.canary.examine(e)
	a.examineStore(e)
	a.examinePeople(e)
	a.examineNotices(e)
	return e.found, e.figures
}

func (e *examiner) repository(f Fleet) {
	s := f.Source()
	switch {
	case s.Err != nil:
		e.find(healthRepository, SeverityWarning, "the repository cannot be read; what is known of it counts", fmt.Sprintf("read repository: %v; last read %s", s.Err, when(s.LastSuccess)))
	case !s.LastSuccess.IsZero() && e.now.Sub(s.LastSuccess) > sourceOld:
		e.find(healthRepository, SeverityWarning, "the repository was not read for long", "last read "+when(s.LastSuccess))
	}
	if err := f.Problems(); err != nil {
		e.find(healthRepository, SeverityWarning, "a part of the repository cannot be used", err.Error())
	}
}

func when(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

func (e *examiner) loop(s reconciler.Status) {
	e.count(healthReconciler, "instances", 1)
	tell := func(severity Severity, public string) {
		detail := s.Name + ": " + string(s.Phase)
		for _, c := range []reconciler.Condition{s.Condition(reconciler.SourceReady), s.Condition(reconciler.ReleaseReady)} {
			if c.Status == "False" {
				detail += "; " + c.Reason + ": " + c.Message
			}
		}
		e.find(healthReconciler, severity, public, detail)
	}
	switch s.Phase {
	case reconciler.PhaseStalled, reconciler.PhaseRetrying:
		tell(SeverityWarning, "a revision cannot be applied")
	case reconciler.PhaseRefused:
		tell(SeverityWarning, "a revision is refused (it does not validate, or is against a policy); the last good one is kept")
	case reconciler.PhaseRolledBack, reconciler.PhaseQuarantined:
		tell(SeverityWarning, "a revision failed and is not tried again (quarantine); the one before runs")
	case reconciler.PhaseSuspended:
		tell(SeverityWarning, "an instance is suspended")
	case reconciler.PhaseHeld:
		tell(SeverityWarning, "an older generation is held by an operator")
	}
	if !onItsWay(s.Phase) && !s.LastPass.IsZero() && e.now.Sub(s.LastPass) > loopLate {
		e.find(healthReconciler, SeverityError, "an instance was not looked at for long", s.Name+": last pass "+when(s.LastPass))
	}
	if r := s.Release; r != nil && r.Deprecated != "" {
		e.find(healthReconciler, SeverityWarning, "a release runs that its makers took back (deprecated)", s.Name+": runs "+r.RunningRelease+", taken back by "+r.Deprecated)
	} else if r != nil && r.Error != "" {
		e.find(healthReconciler, SeverityWarning, "a registry cannot be asked for newer releases", s.Name+": "+r.Error)
	}
}

func (e *examiner) containers(s reconciler.Status) {
	e.count(healthContainers, "containers", int64(len(s.Containers)))
	c := s.Condition(reconciler.ContainersReady)
	detail := strings.TrimSpace(s.Name + ": " + c.Reason + " " + c.Message)
	switch {
	case c.Status == "Unknown" && s.Phase != reconciler.PhasePending:
		e.find(healthContainers, SeverityError, "it is not known what runs: the container engine does not tell", detail)
	case s.Health == reconciler.Missing && s.Generation != 0:
		e.find(healthContainers, SeverityError, "an application does not run", detail)
	case s.Health == reconciler.Degraded:
		e.find(healthContainers, SeverityWarning, "an application does not run as it should", detail)
	}
}

func (e *examiner) certificates(s reconciler.Status) {
	e.count(healthCertificates, "certificates", int64(len(s.Certificates)))
	for _, c := range s.Certificates {
		tell := func(severity Severity, public string) {
			detail := s.Name + ": " + c.Name + ": " + string(c.Phase) + ", ends " + when(c.NotAfter)
			if c.Message != "" {
				detail += "; " + c.Message
			}
			e.find(healthCertificates, severity, public, detail)
		}
		switch {
		case c.Phase == reconciler.CertificateExpired || (!c.NotAfter.IsZero() && !c.NotAfter.After(e.now)):
			tell(SeverityError, "a certificate is over")
		case c.Phase == reconciler.CertificateClockSuspect:
			tell(SeverityWarning, "the clock of the host cannot be right")
		case c.Phase == reconciler.CertificateDegraded:
			tell(SeverityWarning, "a certificate was refused, or is not served everywhere")
		case endsSoon(c, e.now):
			tell(SeverityWarning, "a certificate ends soon")
		}
	}
}

// endsSoon reports whether a certificate should have had a successor by now:
// short-lived ones always end soon.
func endsSoon(c reconciler.CertificateStatus, now time.Time) bool {
	life := c.NotAfter.Sub(c.NotBefore)
	return !c.NotAfter.IsZero() && !c.SelfSigned && c.NotAfter.Sub(now) < min(certificateNear, life/4)
}

func (e *examiner) attachments(s reconciler.Status) {
	for _, c := range s.Attachments {
		e.count(healthData, "connectors", 1)
		e.count(healthData, "tables", int64(len(c.Tables)))
		e.count(healthData, "rows", c.Rows)
		tell := func(severity Severity, public string) {
			detail := s.Name + ": " + c.Name + ": " + string(c.Phase) + ", last good " + when(c.LastGood)
			if c.Message != "" {
				detail += "; " + c.Message
			}
			e.find(healthData, severity, public, detail)
		}
		switch {
		case c.Phase == reconciler.AttachmentFailed:
			tell(SeverityWarning, "a source of data has none yet: it failed")
		case c.Phase == reconciler.AttachmentDegraded:
			tell(SeverityWarning, "a source of data failed; its last good data is served")
		case c.Schedule != "" && !c.LastGood.IsZero() && e.now.Sub(c.LastGood) > dataOld && !c.NextRun.After(e.now):
			tell(SeverityWarning, "a source of data is stale")
		case len(c.Conflicts) > 0:
			tell(SeverityWarning, "two sources of data have a table of the same name")
		}
	}
}

func (a *API) examineStore(e *examiner) {
	if a.cfg.StoreTrouble == nil {
		return
	}
	for _, trouble := range a.cfg.StoreTrouble() {
		e.find(healthStore, SeverityWarning, "the daemon's database was damaged, or is not copied", trouble)
	}
}

func (a *API) examinePeople(e *examiner) {
	if a.cfg.Auth == nil {
		return
	}
	switch open, err := a.cfg.Auth.SetupOpen(); {
	case err != nil:
		e.find(healthUsers, SeverityError, "users cannot be read", err.Error())
	case open:
		e.find(healthUsers, SeverityWarning, "there is no administrator yet", "make one: POST /auth/bootstrap, /setup in a browser, or fairlead user add EMAIL --role admin")
	}
}
