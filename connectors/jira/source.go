package jira

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
	"github.com/sirupsen/logrus"
)

// Settings say which Jira is read, and as whom.
type Settings struct {
	URL   string `json:"url"`             // https://acme.atlassian.net, or with a path for Data Center
	Email string `json:"email,omitempty"` // with Token: Cloud
	Token string `json:"token,omitempty"`
	PAT   string `json:"pat,omitempty"` // a personal access token: Data Center
	JQL   string `json:"jql,omitempty"` // which issues; none: all that may be seen
	// Overlap is how far a run reaches back before the start of the last good one,
	// for what the search index did not show yet; 15 minutes when it is 0.
	Overlap time.Duration `json:"overlap,omitempty"`
	// Reach is what may be connected to. The zero value reaches nothing.
	Reach connectors.Reach `json:"-"`
}

const credentialsHint = "Missing/invalid Jira credentials: Cloud takes email and an API token, Data Center a personal access token (pat)"

// Source reads one Jira.
type Source struct {
	settings Settings
	base     *url.URL
	auth     string
	http     *rest.Client
}

var _ connectors.Source = (*Source)(nil)

// New checks settings; it asks nobody.
func New(settings Settings) (*Source, error) {
	base, err := rest.Base(settings.URL)
	if err != nil {
		return nil, fmt.Errorf("check jira settings: %w", err)
	}
	s := &Source{settings: settings, base: base}
	basic := base64.StdEncoding.EncodeToString([]byte(settings.Email + ":" + settings.Token))
	switch {
	case settings.PAT != "" && settings.Email == "" && settings.Token == "":
		s.auth = "Bearer " + settings.PAT
	case settings.PAT == "" && settings.Email != "" && settings.Token != "":
		s.auth = "Basic " + basic
	default:
		return nil, connectors.WithHint(errors.New("check jira settings: either email and token, or pat"), credentialsHint)
	}
	for _, c := range settings.Token + settings.PAT {
		if c <= ' ' || c > '~' {
			return nil, connectors.WithHint(errors.New("check jira settings: the token holds a space or a character that no token has"), credentialsHint)
		}
	}
	if err := checkJQL(settings.JQL); err != nil {
		return nil, fmt.Errorf("check jira settings: jql: %w", err)
	}
	if settings.Overlap < 0 {
		return nil, errors.New("check jira settings: overlap: must not be negative")
	}
	s.settings.Overlap = cmp.Or(settings.Overlap, 15*time.Minute)
	s.http = rest.Guarded(settings.Reach.Permits, settings.Reach.Proxy, settings.Token, settings.PAT, basic).Trusting(settings.Reach.Roots)
	return s, nil
}

// Discover lists the tables that there are, with the columns of this Jira.
func (s *Source) Discover(ctx context.Context, limit int) ([]connectors.Discovered, bool, error) {
	defer s.http.Close()
	at, err := s.enter(ctx, time.Time{})
	if err != nil {
		return nil, false, err
	}
	kinds := kindsOf(at.fields)
	more := limit > 0 && len(kinds) > limit
	if more {
		kinds = kinds[:limit]
	}
	found := make([]connectors.Discovered, 0, len(kinds))
	for _, k := range kinds {
		found = append(found, connectors.Discovered{ID: k.id, Name: k.id, Description: k.about, Columns: k.plain(), PrimaryKey: k.key})
	}
	return found, more, nil
}

// Sync extracts tables. Those that want the same issues share one walk over them.
// It ends early only when the credentials are refused or ctx ends.
func (s *Source) Sync(ctx context.Context, job connectors.Job) (connectors.Report, error) {
	defer s.http.Close()
	if job.Log != nil {
		s.http.Retry = func(err error, after time.Duration) {
			job.Log.WithFields(logrus.Fields{"after": after.Round(time.Millisecond), "cause": err}).Debug("asking Jira again")
		}
	}
	r := &run{source: s, job: job, results: make([]connectors.TableResult, len(job.Tables))}
	past, note := readState(job.State)
	r.next = past.Kept(job.Tables)
	at, err := s.enter(ctx, job.Now)
	if err != nil {
		for i := range job.Tables {
			r.fail(i, err)
		}
		return connectors.Report{Tables: r.results, State: r.next.Encode()}, err
	}
	r.site = at
	for _, g := range r.groups(past) {
		if err == nil {
			err = r.walk(ctx, g)
		} else {
			r.failAll(g, err)
		}
	}
	for i := range r.results {
		r.results[i].Warnings = append(r.results[i].Warnings, at.notes...)
		if note != "" {
			r.results[i].Warnings = append(r.results[i].Warnings, note)
		}
	}
	return connectors.Report{Tables: r.results, State: r.next.Encode()}, err
}
