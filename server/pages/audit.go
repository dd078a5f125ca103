package pages

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/server/auth"
)

// The bounds of the audit log on a page.
const (
	auditPage  = 100
	auditBatch = 1000
	// auditLook is how many entries are looked through for one page.
	auditLook = 20_000
)

func (s *Site) auditRoutes() { s.page("GET /audit", auth.RoleAdmin, s.auditPage) }

// auditData is what the page of the audit log shows.
type auditData struct {
	Entries    []auth.Entry
	User       string
	Operation  string
	Outcome    string
	Since      string
	Outcomes   []option
	Sinces     []option
	Operations []string
	Pages      pager
	Stopped    bool // there may be older ones that fit
	Filtered   bool
}

func (s *Site) auditPage(v *visit) (reply, error) {
	q := v.URL.Query()
	d := auditData{User: cutBytes(strings.TrimSpace(q.Get("user")), 254), Operation: cutBytes(q.Get("operation"), 100), Outcome: q.Get("outcome"), Since: q.Get("since"),
		Outcomes: []option{{Value: "", Label: "Any outcome"}, {Value: auth.OutcomeDone, Label: "Done"}, {Value: auth.OutcomeRefused, Label: "Refused"}, {Value: auth.OutcomeFailed, Label: "Failed"}},
		Sinces:   []option{{Value: "", Label: "At any time"}, {Value: "1h", Label: "In the last hour"}, {Value: "24h", Label: "In the last day"}, {Value: "168h", Label: "In the last week"}, {Value: "720h", Label: "In the last 30 days"}}}
	before, _ := strconv.ParseUint(q.Get("before"), 10, 64)
	since := time.Time{}
	if ago, err := time.ParseDuration(d.Since); err == nil && ago > 0 {
		since = time.Now().Add(-ago)
	}
	d.Filtered = d.User != "" || d.Operation != "" || d.Outcome != "" || d.Since != ""
	more, err := s.lookAudit(v.Context(), &d, before, since)
	if err != nil {
		return nil, err
	}
	d.Pages = auditPages(v.URL, d.Entries, before, more)
	slices.Sort(d.Operations)
	return view{Template: "audit", Title: "Audit log", Nav: "audit", Data: d}, nil
}

// lookAudit takes what fits, from the newest on, for one page, and reports
// whether there is more.
func (s *Site) lookAudit(ctx context.Context, d *auditData, before uint64, since time.Time) (more bool, err error) {
	for range auditLook / auditBatch {
		list, err := s.api.Audit(ctx, auth.AuditQuery{Limit: auditBatch, Before: before, User: d.User})
		if err != nil {
			return false, err
		}
		for _, e := range list {
			if before = e.Seq; e.At.Before(since) {
				return false, nil
			}
			if !slices.Contains(d.Operations, e.Operation) {
				d.Operations = append(d.Operations, e.Operation)
			}
			if d.Operation != "" && e.Operation != d.Operation || d.Outcome != "" && e.Outcome != d.Outcome {
				continue
			}
			if len(d.Entries) == auditPage {
				return true, nil
			}
			d.Entries = append(d.Entries, e)
		}
		if len(list) < auditBatch {
			return false, nil
		}
	}
	d.Stopped = true
	return len(d.Entries) > 0, nil
}

// auditPages leads to older entries, and from there to the newest.
func auditPages(u *url.URL, list []auth.Entry, before uint64, more bool) (p pager) {
	q := u.Query()
	if before > 0 {
		q.Del("before")
		p.Before = u.Path + "?" + q.Encode()
		p.Text = "older entries"
	}
	if more && len(list) > 0 {
		q.Set("before", strconv.FormatUint(list[len(list)-1].Seq, 10))
		p.After = u.Path + "?" + q.Encode()
	}
	return p
}
