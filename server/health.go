package server

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Severity says how bad something is. It is the status of a service of Health.
type Severity string

// The severities, the least first.
const (
	SeverityOff     Severity = "off" // there is no such service here
	SeverityOK      Severity = "ok"
	SeverityWarning Severity = "warning"
	SeverityError   Severity = "error"
)

// ServiceHealth is how a part of the daemon, or of what it keeps, is.
type ServiceHealth struct {
	Status Severity `json:"status" enum:"off,ok,warning,error"`
	// Detail and Figures are only told to those who are known.
	Detail  []string         `json:"detail,omitempty" doc:"what is wrong, and where"`
	Figures map[string]int64 `json:"figures,omitempty" doc:"how many there are"`
}

// The services of Health.
const (
	healthReconciler   = "reconciler"   // the loop
	healthRepository   = "repository"   // the desired state
	healthContainers   = "containers"   // what runs
	healthCertificates = "certificates" // and what it is served with
	healthData         = "data"         // connectors and what they left
	healthStore        = "store"        // the daemon's own database
	healthUsers        = "users"        // who may ask
	healthNotices      = "notices"      // who is told
)

// Health is how everything is. The call always answers 200: that there is an
// answer says that the daemon is alive, and the status how it is.
type Health struct {
	Status        string                   `json:"status" enum:"healthy,degraded,unhealthy" doc:"unhealthy: a service has an error; degraded: one has a warning"`
	Version       string                   `json:"version"`
	Channel       string                   `json:"channel"`
	ImageTag      string                   `json:"image_tag"`
	CommitSHA     string                   `json:"commit_sha"`
	SchemaVersion int                      `json:"schema_version" doc:"of the data directory"`
	DeployedAt    time.Time                `json:"deployed_at" doc:"since when the daemon runs"`
	Timestamp     time.Time                `json:"timestamp"`
	Warnings      []string                 `json:"warnings"`
	Services      map[string]ServiceHealth `json:"services"`
}

// finding is one thing that is not as it should be.
type finding struct {
	service  string
	severity Severity
	public   string // what anybody may know: no name and no address
	detail   string // what those who are known may
}

// Health tells how everything is, with names and places.
func (a *API) Health(context.Context) (Health, error) {
	found, figures := a.examine(time.Now())
	h := a.health(found, func(f finding) string { return f.detail })
	for service, counts := range figures {
		s := h.Services[service]
		s.Figures = counts
		h.Services[service] = s
	}
	for _, f := range found {
		s := h.Services[f.service]
		s.Detail = append(s.Detail, f.detail)
		h.Services[f.service] = s
	}
	return h, nil
}

// publicHealth is Health for anybody: what is wrong without where.
func (a *API) publicHealth(now time.Time) Health {
	found, _ := a.examine(now)
	return a.health(found, func(f finding) string { return f.public })
}

func (a *API) health(found []finding, say func(finding) string) Health {
	v, _ := a.Version(context.Background()) // which never fails
	h := Health{Status: "healthy", Version: v.Version, Channel: v.Channel, ImageTag: v.ImageTag, CommitSHA: v.CommitSHA,
		SchemaVersion: v.SchemaVersion, DeployedAt: v.Started, Timestamp: time.Now().UTC(),
		Warnings: []string{}, Services: a.services()}
	for _, f := range found {
		s := h.Services[f.service]
		if s.Status != SeverityError {
			s.Status = f.severity
		}
		h.Services[f.service] = s
		switch {
		case f.severity == SeverityError:
			h.Status = "unhealthy"
		case h.Status == "healthy":
			h.Status = "degraded"
		}
		h.Warnings = append(h.Warnings, say(f))
	}
	slices.Sort(h.Warnings)
	h.Warnings = folded(h.Warnings)
	return h
}

// folded says once what is there more often. The list is sorted.
func folded(list []string) []string {
	out := []string{}
	for i := 0; i < len(list); {
		n := 1
		for i+n < len(list) && list[i+n] == list[i] {
			n++
		}
		text := list[i]
		if n > 1 {
			text = fmt.Sprintf("%s (%d times)", text, n)
		}
		out = append(out, text)
		i += n
	}
	return out
}

// services are all that there are, before anything is found.
func (a *API) services() map[string]ServiceHealth {
	here := func(is bool) ServiceHealth {
		if is {
			return ServiceHealth{Status: SeverityOK}
		}
		return ServiceHealth{Status: SeverityOff}
	}
	return map[string]ServiceHealth{
		healthReconciler: here(true), healthRepository: here(true), healthContainers: here(true), healthStore: here(a.cfg.Write != nil),
		healthCertificates: here(a.cfg.Certificates != nil), healthData: here(a.cfg.Data != nil), healthUsers: here(a.cfg.Auth != nil),
		healthNotices: here(a.cfg.Notices != nil),
	}
}

// healthAge is how old the health that anybody is told may be. To find it out
// takes a look at every instance, which thousands of requests a second need not
// have each.
const healthAge = time.Second

// lastHealth is the answer to anybody, written.
type lastHealth struct {
	mu   sync.Mutex
	kept atomic.Pointer[writtenHealth]
}

type writtenHealth struct {
	at   time.Time
	body []byte
}

// healthBody is the answer to anybody. One request makes it anew, and the
// others wait for that one only when there is none that will do.
func (a *API) healthBody() ([]byte, error) {
	now := time.Now()
	kept := a.lastHealth.kept.Load()
	if kept != nil && now.Sub(kept.at) < healthAge {
		return kept.body, nil
	}
	if kept != nil && now.Sub(kept.at) < 2*healthAge {
		if !a.lastHealth.mu.TryLock() {
			return kept.body, nil
		}
	} else {
		a.lastHealth.mu.Lock()
	}
	defer a.lastHealth.mu.Unlock()
	if made := a.lastHealth.kept.Load(); made != kept && now.Sub(made.at) < healthAge {
		return made.body, nil
	}
	body, err := json.Marshal(a.publicHealth(now))
	if err != nil {
		return nil, fmt.Errorf("write health: %w", err)
	}
	body = append(body, '\n')
	a.lastHealth.kept.Store(&writtenHealth{time.Now(), body})
	return body, nil
}
