package bigquery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/google"
	"github.com/fairlead/fairlead/connectors/internal/rest"
	"github.com/sirupsen/logrus"
)

const (
	// endpoint is that of the API; regions have their own.
	endpoint = "https://bigquery.googleapis.com"
	scope    = "https://www.googleapis.com/auth/bigquery"
)

// Settings say which project is read, and as whom.
type Settings struct {
	Project  string // that pays, and whose datasets are listed
	Location string // of queries; empty: where their tables are
	Key      string // JSON of a service account, a secret; empty: the machine's account
	Endpoint string // empty: Google's
	// MaxBytesBilled refuses a query that would read more; 0: no bound.
	MaxBytesBilled int64
	// TokenEndpoint is where tokens come from; empty: Google's. Only for those who
	// have an Endpoint of their own, since a signed claim is sent there.
	TokenEndpoint string
	// Timeout bounds one query at BigQuery; 1 hour when it is 0.
	Timeout time.Duration
	// MaxBytes of one table, as JSON; 1 TiB when it is 0.
	MaxBytes int64
	// Reach is what may be connected to, besides Google: an Endpoint that is not
	// Google's. The zero value reaches no such.
	Reach connectors.Reach
}

// tokens is who asks.
type tokens interface {
	Get(ctx context.Context) (string, error)
	Drop(token string)
	Close()
	Who() string
}

// Source reads one project.
type Source struct {
	settings Settings
	base     *url.URL
	tokens   tokens
	http     *rest.Client
}

var _ connectors.Source = (*Source)(nil)

// New checks settings; it asks nobody.
func New(settings Settings) (*Source, error) {
	if settings.Endpoint == "" {
		settings.Endpoint = endpoint
	}
	base, err := rest.Base(settings.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("check bigquery settings: endpoint: %w", err)
	}
	own := base.Scheme != "https" || !strings.HasSuffix("."+strings.ToLower(base.Hostname()), ".googleapis.com")
	if own && settings.Key == "" {
		return nil, connectors.WithHint(errors.New("check bigquery settings: endpoint: it is not Google's, and the account of this machine is for Google alone"),
			"Set key to that of a service account, or leave endpoint out")
	}
	reach := settings.Reach
	who, err := google.New(google.Options{Key: settings.Key, Scopes: []string{scope}, Token: settings.TokenEndpoint, Proxy: reach.Proxy, Roots: reach.Roots})
	if err != nil {
		return nil, fmt.Errorf("check bigquery settings: %w", err)
	}
	if settings.Project == "" {
		settings.Project = who.Project()
	}
	switch {
	case !validProject(settings.Project):
		return nil, connectors.WithHint(errors.New("check bigquery settings: project: not the name of a project"), "Set project to the ID of the project that pays for queries: acme-data")
	case settings.Location != "" && !word(settings.Location, "-"):
		return nil, connectors.WithHint(errors.New("check bigquery settings: location: not a location"), "Write it as BigQuery does: EU, US, europe-west3")
	case settings.MaxBytesBilled < 0 || settings.Timeout < 0 || settings.MaxBytes < 0:
		return nil, errors.New("check bigquery settings: max_bytes_billed, timeout and max_bytes: must not be negative")
	}
	if settings.Timeout == 0 {
		settings.Timeout = time.Hour
	}
	if settings.MaxBytes == 0 {
		settings.MaxBytes = 1 << 40
	}
	client := rest.New().Through(reach.Proxy, reach.Roots)
	if own {
		client = rest.Guarded(reach.Permits, reach.Proxy).Trusting(reach.Roots)
	}
	return &Source{settings: settings, base: base, tokens: who, http: client}, nil
}

func (s *Source) close() {
	s.http.Close()
	s.tokens.Close()
}

// Sync reads tables one after the other. It ends early only when the credentials
// are refused or ctx ends.
func (s *Source) Sync(ctx context.Context, job connectors.Job) (connectors.Report, error) {
	defer s.close()
	if job.Log != nil {
		s.http.Retry = func(err error, after time.Duration) {
			job.Log.WithFields(logrus.Fields{"after": after.Round(time.Millisecond), "cause": err}).Debug("asking BigQuery again")
		}
	}
	past, lost := connectors.ReadState(job.State)
	r := &run{source: s, job: job, next: past.Kept(job.Tables)}
	var report connectors.Report
	var err error
	for _, spec := range job.Tables {
		result, problem := connectors.TableResult{}, err
		if problem == nil {
			result, problem = r.table(ctx, spec, past.Tables[spec.Name])
		}
		if problem != nil {
			discard(job.Dir, spec.Name)
			result = connectors.TableResult{Table: spec.Name, Outcome: connectors.Failed, Error: problem.Error(), Hint: connectors.Hint(problem)}
			if ctx.Err() != nil || errors.Is(problem, errAccess) {
				err = problem
			}
		}
		if lost {
			result.Warnings = append(result.Warnings, "the state of the last run could not be read: everything was read whole")
		}
		report.Tables = append(report.Tables, result)
	}
	report.Remotes, report.State = r.remotes, r.next.Encode()
	return report, err
}

// errAccess is an account that BigQuery does not take: nothing else will work.
var errAccess = errors.New("the credentials were refused")

// explain adds to an error of the API what can be done about it.
func (s *Source) explain(err error) error {
	if err == nil || connectors.Hint(err) != "" {
		return err
	}
	reason := rest.Reason(err)
	if hint := hintOf(reason); hint != "" {
		return connectors.WithHint(err, hint)
	}
	switch rest.Code(err) {
	case http.StatusUnauthorized:
		return connectors.WithHint(fmt.Errorf("%w: %w", errAccess, err), "Missing/invalid BigQuery credentials: see the key of "+s.tokens.Who())
	case http.StatusForbidden:
		return connectors.WithHint(err, hintOf("accessDenied"))
	case http.StatusNotFound:
		return connectors.WithHint(err, hintOf("notFound"))
	}
	return err
}

// hintOf is what can be done about a reason
// (https://cloud.google.com/bigquery/docs/error-messages).
func hintOf(reason string) string {
	switch reason {
	case "accessDenied":
		return "Give the service account roles/bigquery.dataViewer on the dataset, and roles/bigquery.jobUser on project for queries"
	case "notFound":
		return "Name the table as dataset.table or project.dataset.table, as discovery shows it; a query over data outside of US and EU may need location"
	case "quotaExceeded", "rateLimitExceeded", "jobRateLimitExceeded", "userRateLimitExceeded":
		return "A quota of the project is used up: run less often, or ask Google for more"
	case "bytesBilledLimitExceeded":
		return "Read less (columns, where, incremental or partitioned), or raise max_bytes_billed"
	case "responseTooLarge":
		return "The result is larger than BigQuery gives without a table of its own: read less, or read the table itself (local) instead of a query"
	case "resourcesExceeded":
		return "The query needs more than BigQuery has for one: make it simpler"
	case "invalidQuery", "invalid":
		return "See query and where: GoogleSQL, one SELECT"
	case "stopped":
		return "Somebody cancelled the job; it is run again with the next run"
	case "billingNotEnabled", "billingTierLimitExceeded":
		return "Switch billing on for the project"
	case "accountDisabled", "accessNotConfigured":
		return "Switch the BigQuery API on for the project"
	}
	return ""
}

// remote is the project as an attached database.
func (s *Source) remote(project string) connectors.Remote {
	where := "project=" + project
	if project != s.settings.Project {
		where += " billing_project=" + s.settings.Project
	}
	sum := sha256.Sum256([]byte(where))
	return connectors.Remote{Alias: "bq_" + hex.EncodeToString(sum[:6]), Extension: "bigquery", URL: where}
}
