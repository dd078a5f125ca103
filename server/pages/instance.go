package pages

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

func (s *Site) instanceRoutes() {
	s.page("GET /instances/{$}", auth.RoleViewer, func(*visit) (reply, error) { return redirect{"/"}, nil })
	s.page("GET /instances/{name}", auth.RoleViewer, s.instance)
	s.page("GET /instances/{name}/plan", auth.RoleViewer, s.plan)
	s.page("GET /instances/{name}/history", auth.RoleViewer, s.history)
	s.page("GET /instances/{name}/applies/{seq}", auth.RoleViewer, s.apply)
	s.page("GET /instances/{name}/generations/{number}", auth.RoleViewer, s.generation)
	s.page("GET /instances/{name}/history/{seq}", auth.RoleViewer, func(v *visit) (reply, error) { // as the address was once
		return redirect{instancePath(v.PathValue("name")) + "/applies/" + url.PathEscape(v.PathValue("seq"))}, nil
	})
	s.page("GET /instances/{name}/events", auth.RoleViewer, s.instanceEvents)
	s.page("GET /instances/{name}/live", auth.RoleViewer, s.underWay)
	s.mux.HandleFunc("GET /instances/{name}/live/follow", s.followLive)
	s.page("GET /instances/{name}/logs", auth.RoleViewer, s.logs)
	s.mux.HandleFunc("GET /instances/{name}/logs/follow", s.followLogs)
	s.page("GET /events", auth.RoleViewer, s.allEvents)
}

// instanceHead is what every page of an instance shows.
type instanceHead struct {
	reconciler.Status
	Tone, Message string
	Tabs          []tabLink
	CanRetry      bool // something failed and is not tried again by itself
	CanUpgrade    bool // a release waits for its time
}

type tabLink struct {
	Key, Path, Label string
	Current          bool
	Count            int
}

// Head is the head by itself, for the template that draws it.
func (h instanceHead) Head() instanceHead { return h }

// find returns the status of an instance without looking at anything.
func (s *Site) find(v *visit) (reconciler.Status, error) {
	name := v.PathValue("name")
	for _, st := range s.api.Statuses() {
		if st.Name == name {
			return st, nil
		}
	}
	return s.api.Status(v.Context(), name) // whose error says which there are
}

// headOf is the head of a page of an instance, with one tab current.
func (s *Site) headOf(v *visit, tab string) (instanceHead, error) {
	st, err := s.find(v)
	if err != nil {
		return instanceHead{}, err
	}
	h := instanceHead{Status: st, Tone: toneOf(st), Message: headline(st)}
	h.CanRetry = slices.Contains([]reconciler.Phase{reconciler.PhaseQuarantined, reconciler.PhaseRolledBack, reconciler.PhaseStalled}, st.Phase)
	h.CanUpgrade = st.Release != nil && canWait(st.Release.Deferred)
	base := instancePath(st.Name)
	for _, t := range []tabLink{{Key: "overview", Label: "Overview"}, {Key: "plan", Label: "Plan"}, {Key: "history", Label: "History"},
		{Key: "events", Label: "Events"}, {Key: "live", Label: "Live"}, {Key: "logs", Label: "Logs"},
		{Key: "certificates", Label: "Certificates", Count: len(st.Certificates)}, {Key: "connectors", Label: "Connectors", Count: len(st.Attachments)}} {
		t.Path, t.Current = base+"/"+t.Key, t.Key == tab
		if t.Key == "overview" {
			t.Path = base
		}
		h.Tabs = append(h.Tabs, t)
	}
	return h, nil
}

// canWait reports whether a release is only a matter of time. What failed or was
// taken back is not.
func canWait(d *reconciler.Deferral) bool {
	return d != nil && d.Reason != reconciler.DeferredDeprecated && d.Reason != reconciler.DeferredQuarantined
}

func instancePath(name string) string { return "/instances/" + url.PathEscape(name) }

// view is a page of the instance.
func (h instanceHead) view(template, title string, data any) view {
	return view{Template: template, Title: title, Nav: "instances", Live: h.Name, Data: data}
}

// subCrumbs lead from a page below the tabs back to them.
func (h instanceHead) subCrumbs(more ...crumb) []crumb {
	return append([]crumb{{"/", "Instances"}, {instancePath(h.Name), h.Name}}, more...)
}

// overview is the first page of an instance.
type overview struct {
	instanceHead
	Source     server.SourceInfo
	Checks     []check
	Containers []containerRow
	Expiries   []expiry
	Feeds      []feed
	Window     *windowStrip
	Hosts      []hostLink
}

// hostLink is a host that requests come in by, and where that is.
type hostLink struct{ Name, URL string }

// hostLinks have the port on which the front listens, where it is not 443.
func hostLinks(hosts []string, front []server.Listener) (links []hostLink) {
	at := ""
	for _, l := range front {
		if _, port, err := net.SplitHostPort(l.Address); err == nil && l.Name == "https" && l.Open && port != "443" {
			at = ":" + port
		}
	}
	for _, host := range hosts {
		links = append(links, hostLink{host, "https://" + host + at + "/"})
	}
	return links
}

// check is a condition with what to do about it.
type check struct {
	reconciler.Condition
	Tone, What, Do string
}

// containerRow is a container as the table shows it.
type containerRow struct {
	reconciler.ContainerStatus
	Badge    badge
	Differ   bool // runs another image than what is wanted
	Restarts int  // -1: not known
}

func (s *Site) instance(v *visit) (reply, error) {
	head, err := s.headOf(v, "overview")
	if err != nil {
		return nil, err
	}
	all, err := s.fresh.get(v.Context(), s.api)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	head.Uncommitted = editsIn(all.Source.Dirty, head.Dir)
	o := overview{instanceHead: head, Source: all.Source, Expiries: expiriesOf(head.Certificates, now), Feeds: feedsOf(head.Attachments), Hosts: hostLinks(head.Status.Front, all.Front)}
	for _, c := range byUrgency(head.Conditions) {
		o.Checks = append(o.Checks, check{c, conditionTone(c), whatOf(c.Type), adviceOf(c, head.Name)})
	}
	restarts := s.restarts(v, head.Name)
	for _, c := range head.Status.Containers {
		o.Containers = append(o.Containers, containerRow{c, containerBadge(c), c.Wanted != "" && c.Wanted != c.ImageID, restarts(c.Name)})
	}
	if r := head.Release; r != nil && r.Window != "" {
		o.Window = drawWindow(r.Window, now)
	}
	view := head.view("instance", head.Name, o)
	view.Reload = 30
	return view, nil
}

// editsIn are the edits that concern an instance.
func editsIn(dirty []string, dir string) (list []string) {
	for _, path := range dirty {
		if dir == "" || dir == "." || strings.HasPrefix(path, dir+"/") {
			list = append(list, path)
		}
	}
	return list
}

func whatOf(kind string) string { return strings.TrimSuffix(kind, "Ready") }

func containerBadge(c reconciler.ContainerStatus) badge {
	switch {
	case c.Done:
		return badge{"ok", "done"}
	case c.State == reconciler.StateRestarting:
		return badge{"bad", "restarting"}
	case c.State != reconciler.StateRunning:
		return badge{"bad", string(c.State)}
	case c.Health == reconciler.HealthUnhealthy:
		return badge{"bad", "unhealthy"}
	case c.Health == reconciler.HealthStarting:
		return badge{"run", "starting"}
	case c.Health == reconciler.HealthHealthy:
		return badge{"ok", "healthy"}
	}
	return badge{"ok", "running"}
}

// adviceOf says what to do about a condition, where its message does not.
func adviceOf(c reconciler.Condition, name string) string {
	if c.Status == "True" {
		return ""
	}
	switch c.Type {
	case reconciler.CertificatesReady:
		return "The page of the certificate says what was refused, by whom, and what is awaited."
	case reconciler.AttachmentsReady:
		return "What was read before stays attached. The page of the connector has its runs and their logs."
	case reconciler.SourceReady:
		if c.Reason == "Invalid" {
			return "Mend the files and commit; fairlead validate checks them before. What was applied last stays."
		}
		if c.Reason == "AgainstPolicy" || c.Reason == "NotVouchedFor" {
			return "Nothing of the revision is applied. What was applied last stays; the problems say what the policy permits, or who may sign."
		}
		return "Check that the repository can be reached and that the credentials are good. What runs is kept running."
	case reconciler.ReleaseReady:
		return releaseAdvice(c.Reason)
	}
	switch c.Reason {
	case "EngineUnreachable":
		return "Check that the container engine runs (systemctl status docker), and --docker-host."
	case string(reconciler.Degraded), string(reconciler.Missing):
		return "Read the logs of the container. What can be healed is healed by itself."
	case string(reconciler.Progressing):
		return ""
	}
	return "What is in the way is in the message; fairlead why " + name + " NAME explains one object."
}

func releaseAdvice(reason string) string {
	switch reason {
	case "RegistryUnreachable":
		return "Check the name of the image, the network and the credentials of the registry. What runs stays."
	case reconciler.DeferredWindow, reconciler.DeferredMinAge, reconciler.DeferredBusy:
		return "It is taken by itself when the time has come; Upgrade now takes it at once."
	case reconciler.DeferredDeprecated:
		return "The next release is taken when there is one. A pin in instance.yaml (release.version) chooses another."
	case reconciler.DeferredQuarantined:
		return "The next release is taken when there is one; Retry tries this one once more."
	}
	return ""
}

func (r containerRow) Image12() string { return shortDigest(r.ImageID) }

// WantedText is the digest that is wanted, as well as it is known.
func (r containerRow) WantedText() string {
	if r.Digest != "" {
		return shortDigest(r.Digest)
	}
	return shortDigest(r.Wanted)
}

// RestartsText is how often the engine started it anew.
func (r containerRow) RestartsText() string {
	if r.Restarts < 0 {
		return "–"
	}
	return strconv.Itoa(r.Restarts)
}

// restarts returns how often the engine started a container of an instance
// anew, and -1 where it does not say.
func (s *Site) restarts(v *visit, instance string) func(container string) int {
	counts := s.counted.get(v.Context(), s.api, instance)
	return func(container string) int {
		if n, known := counts[container]; known {
			return n
		}
		return -1
	}
}

// PortsText are the published ports in a line.
func (r containerRow) PortsText() string { return strings.Join(r.Ports, ", ") }

// expiry is how much of a certificate's life is left.
type expiry struct {
	reconciler.CertificateStatus
	Badge badge
	Meter meter
	Left  string
}

func expiriesOf(list []reconciler.CertificateStatus, now time.Time) (out []expiry) {
	for _, c := range list {
		out = append(out, expiryOf(c, now))
	}
	return out
}

func expiryOf(c reconciler.CertificateStatus, now time.Time) expiry {
	e := expiry{CertificateStatus: c, Badge: certificateBadge(c.Phase), Left: "–"}
	if c.NotAfter.IsZero() {
		e.Meter = newMeter("off", 0, "no certificate yet")
		return e
	}
	left, whole := c.NotAfter.Sub(now), c.NotAfter.Sub(c.NotBefore)
	share := 0.0
	if whole > 0 {
		share = float64(left) / float64(whole)
	}
	tone := "ok"
	switch {
	case share < 0.1:
		tone = "bad"
	case share < 1.0/3:
		tone = "warn"
	}
	e.Left = age(left) + " left"
	if left <= 0 {
		e.Left = "over for " + age(-left)
	}
	e.Meter = newMeter(tone, share, fmt.Sprintf("%s of %s", e.Left, age(whole)))
	return e
}

func certificateBadge(p reconciler.CertificatePhase) badge {
	switch p {
	case reconciler.CertificateLive:
		return badge{"ok", "Live"}
	case reconciler.CertificateSelfSigned:
		return badge{"ok", "Self-signed"}
	case reconciler.CertificateDegraded, reconciler.CertificateExpired:
		return badge{"bad", string(p)}
	case reconciler.CertificateAwaitsIssuer:
		return badge{"run", "Awaiting issuer"}
	case reconciler.CertificatePending:
		return badge{"run", "Pending"}
	}
	return badge{"warn", titled(p)}
}

// feed is a connector with how fresh its data is.
type feed struct {
	reconciler.AttachmentStatus
	Badge badge
}

func feedsOf(list []reconciler.AttachmentStatus) (out []feed) {
	for _, a := range list {
		out = append(out, feed{a, attachmentBadge(a)})
	}
	return out
}

func attachmentBadge(a reconciler.AttachmentStatus) badge {
	switch a.Phase {
	case reconciler.AttachmentLive:
		if a.Running {
			return badge{"run", "Live, running"}
		}
		return badge{"ok", "Live"}
	case reconciler.AttachmentDegraded, reconciler.AttachmentFailed:
		return badge{"bad", string(a.Phase)}
	case reconciler.AttachmentRunning:
		return badge{"run", "First run"}
	}
	return badge{"off", "Pending"}
}
