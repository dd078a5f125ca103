package bigquery

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
)

const (
	jobTries    = 3
	longestPoll = 20 * time.Second
)

// jobReference names a job.
type jobReference struct {
	Project  string `json:"projectId"`
	Job      string `json:"jobId,omitempty"`
	Location string `json:"location,omitempty"`
}

// parameter is a named one of a query.
type parameter struct {
	Name string `json:"name"`
	Type struct {
		Type string `json:"type"`
	} `json:"parameterType"`
	Value struct {
		Value string `json:"value"`
	} `json:"parameterValue"`
}

func named(name, kind, value string) (p parameter) {
	p.Name, p.Type.Type, p.Value.Value = name, kind, value
	return p
}

type queryConfiguration struct {
	Query              string      `json:"query"`
	UseLegacySQL       bool        `json:"useLegacySql"` // true when it is left out
	MaximumBytesBilled string      `json:"maximumBytesBilled,omitempty"`
	ParameterMode      string      `json:"parameterMode,omitempty"`
	Parameters         []parameter `json:"queryParameters,omitempty"`
}

type configuration struct {
	DryRun  bool               `json:"dryRun,omitempty"`
	Timeout string             `json:"jobTimeoutMs,omitempty"`
	Labels  map[string]string  `json:"labels,omitempty"`
	Query   queryConfiguration `json:"query"`
}

// job is a job as it is asked for and as the API tells of it.
type job struct {
	Reference     *jobReference  `json:"jobReference,omitempty"`
	Configuration *configuration `json:"configuration,omitempty"`
	Status        *struct {
		State string    `json:"state"` // PENDING, RUNNING or DONE
		Error *jobError `json:"errorResult"`
	} `json:"status,omitempty"`
	Statistics *struct {
		Bytes number `json:"totalBytesProcessed"`
		Query struct {
			Bytes     number `json:"totalBytesProcessed"`
			Statement string `json:"statementType"`
			Schema    schema `json:"schema"`
		} `json:"query"`
	} `json:"statistics,omitempty"`
}

// jobError is why a job failed.
type jobError struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func (e *jobError) Error() string {
	return fmt.Sprintf("%s (%s)", rest.Short(e.Message), rest.Short(e.Reason))
}

// again reports whether the same job may go well another time.
func (e *jobError) again() bool {
	return slices.Contains([]string{"backendError", "jobBackendError", "internalError", "jobInternalError", "rateLimitExceeded", "jobRateLimitExceeded", "tableUnavailable"}, e.Reason)
}

// plan has BigQuery read a query without running it: what it is, what columns it
// gives, and what it would cost.
func (s *Source) plan(ctx context.Context, sql string, parameters ...parameter) (schema, error) {
	ask := s.ask(sql, parameters)
	ask.Configuration.DryRun = true
	var told job
	if err := s.call(ctx, http.MethodPost, "projects/"+s.settings.Project+"/jobs", nil, ask, &told); err != nil {
		return schema{}, fmt.Errorf("dry run: %w", err)
	}
	switch {
	case told.Statistics == nil:
		return schema{}, errors.New("dry run: the answer has no statistics")
	case told.Statistics.Query.Statement != "SELECT":
		return schema{}, connectors.WithHint(fmt.Errorf("it is %s, not one SELECT", rest.Short(told.Statistics.Query.Statement)), hintOf("invalidQuery"))
	case len(told.Statistics.Query.Schema.Fields) == 0:
		return schema{}, errors.New("dry run: the query gives no columns")
	}
	bytes, most := int64(max(told.Statistics.Bytes, told.Statistics.Query.Bytes)), s.settings.MaxBytesBilled
	if most > 0 && bytes > most {
		return schema{}, connectors.WithHint(fmt.Errorf("the query would read %d bytes (%s), and max_bytes_billed is %d (%s)", bytes, size(bytes), most, size(most)), hintOf("bytesBilledLimitExceeded"))
	}
	return told.Statistics.Query.Schema, nil
}

// size is a number of bytes as people read it.
func size(n int64) string {
	for i, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if one := int64(1) << (40 - 10*i); n >= one {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(one), unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}

func (s *Source) ask(sql string, parameters []parameter) job {
	c := &configuration{Query: queryConfiguration{Query: sql, Parameters: parameters}, Labels: map[string]string{"application": "fairlead"},
		Timeout: strconv.FormatInt(s.settings.Timeout.Milliseconds(), 10)}
	if len(parameters) > 0 {
		c.Query.ParameterMode = "NAMED"
	}
	if s.settings.MaxBytesBilled > 0 {
		c.Query.MaximumBytesBilled = strconv.FormatInt(s.settings.MaxBytesBilled, 10)
	}
	return job{Configuration: c, Reference: &jobReference{Project: s.settings.Project, Location: s.settings.Location}}
}

// execute runs a query and waits for its end. A job that failed by BigQuery's own
// trouble is run again under another name.
func (s *Source) execute(ctx context.Context, sql string, parameters ...parameter) (*jobReference, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.settings.Timeout, fmt.Errorf("the query took longer than %s", s.settings.Timeout))
	defer cancel()
	for try := 1; ; try++ {
		ref, err := s.once(ctx, s.ask(sql, parameters))
		failed, ok := errors.AsType[*jobError](err)
		if err == nil || !ok || !failed.again() || try == jobTries {
			if ok {
				err = connectors.WithHint(err, hintOf(failed.Reason))
			}
			return ref, err
		}
		if err := rest.Sleep(ctx, time.Duration(try)*5*time.Second); err != nil {
			return nil, err
		}
	}
}

// once starts a job under a name of our own, so that a start that is sent twice is
// one job, and waits for it.
func (s *Source) once(ctx context.Context, ask job) (*jobReference, error) {
	ask.Reference.Job = "fairlead_" + strings.ToLower(rand.Text())
	var j job
	err := s.call(ctx, http.MethodPost, "projects/"+s.settings.Project+"/jobs", nil, ask, &j)
	if rest.Code(err) == http.StatusConflict { // the answer to the first start was lost
		err = s.get(ctx, "projects/"+s.settings.Project+"/jobs/"+ask.Reference.Job, location(ask.Reference), &j)
	}
	if err != nil {
		s.cancel(ctx, ask.Reference) // it may have been started
		return nil, fmt.Errorf("start query: %w", err)
	}
	if j.Reference == nil || j.Reference.Job != ask.Reference.Job {
		return nil, errors.New("start query: the answer names another job")
	}
	ref := *j.Reference
	ref.Project = s.settings.Project
	if err := s.wait(ctx, &j, &ref); err != nil {
		return nil, fmt.Errorf("query job %s: %w", ref.Job, err)
	}
	return &ref, nil
}

// wait polls a job, and cancels it when ctx ends.
func (s *Source) wait(ctx context.Context, j *job, ref *jobReference) error {
	for pause := 500 * time.Millisecond; ; pause = min(pause*3/2, longestPoll) {
		switch {
		case j.Status == nil:
			return errors.New("the answer has no status")
		case j.Status.State == "DONE" && j.Status.Error != nil:
			return j.Status.Error
		case j.Status.State == "DONE":
			return nil
		}
		err := rest.Sleep(ctx, pause)
		if err == nil {
			*j = job{}
			err = s.get(ctx, "projects/"+ref.Project+"/jobs/"+ref.Job, location(ref), j)
		}
		if err != nil {
			s.cancel(ctx, ref)
			return err
		}
	}
}

// cancel ends a job that nobody waits for any more: it would go on costing.
func (s *Source) cancel(ctx context.Context, ref *jobReference) {
	if ctx.Err() == nil {
		return
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var ignored struct{}
	query := location(ref)
	_ = s.call(after, http.MethodPost, "projects/"+ref.Project+"/jobs/"+ref.Job+"/cancel", query, nil, &ignored) // jobTimeoutMs ends it in any case
}

func location(ref *jobReference) url.Values {
	if ref.Location == "" {
		return nil
	}
	return url.Values{"location": {ref.Location}}
}

// results asks for a page of what a query gave.
func (s *Source) results(ref *jobReference) func(context.Context, string) (rowsPage, error) {
	return func(ctx context.Context, token string) (page rowsPage, err error) {
		query := url.Values{"maxResults": {strconv.Itoa(pageRows)}, "formatOptions.useInt64Timestamp": {"true"}}
		if ref.Location != "" {
			query.Set("location", ref.Location)
		}
		if token != "" {
			query.Set("pageToken", token)
		}
		err = s.get(ctx, "projects/"+ref.Project+"/queries/"+ref.Job, query, &page)
		if err == nil && (page.Complete == nil || !*page.Complete) {
			err = errors.New("the job is done and its result is not")
		}
		return page, err
	}
}
