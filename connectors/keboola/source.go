package keboola

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
	"github.com/sirupsen/logrus"
)

// Settings say which project is read.
type Settings struct {
	URL   string `json:"url"`   // of the stack: https://connection.keboola.com
	Token string `json:"token"` // a Storage API token that may read the buckets
	// Timeout bounds one export job at the service; an hour when it is 0.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Overlap is how far an incremental export reaches back before the start of the
	// last good one, for imports that were under way then; an hour when it is 0.
	Overlap time.Duration `json:"overlap,omitempty"`
	// MaxBytes bounds one table, uncompressed; 1 TiB when it is 0.
	MaxBytes int64 `json:"max_bytes,omitempty"`
	// Reach is what may be connected to: the stack, and other stores than the
	// clouds' own. The zero value reaches neither.
	Reach connectors.Reach `json:"-"`
}

const tokenHint = "Missing/invalid KEBOOLA_STORAGE_TOKEN: set it to a Storage API token of this project that has not expired"

// Source reads one project.
type Source struct {
	settings Settings
	base     *url.URL
	http     *rest.Client
}

var _ connectors.Source = (*Source)(nil)

// New checks settings; it asks nobody.
func New(settings Settings) (*Source, error) {
	base, err := rest.Base(settings.URL)
	if err != nil {
		return nil, fmt.Errorf("check keboola settings: %w", err)
	}
	if settings.Token == "" {
		return nil, connectors.WithHint(errors.New("check keboola settings: token: is empty"), tokenHint)
	}
	for _, c := range settings.Token {
		if c <= ' ' || c > '~' {
			return nil, connectors.WithHint(errors.New("check keboola settings: token: holds a space or a character that no token has"), tokenHint)
		}
	}
	if settings.Timeout < 0 || settings.Overlap < 0 || settings.MaxBytes < 0 {
		return nil, errors.New("check keboola settings: timeout, overlap and max_bytes: must not be negative")
	}
	settings.Timeout = cmp.Or(settings.Timeout, time.Hour)
	settings.Overlap = cmp.Or(settings.Overlap, time.Hour)
	settings.MaxBytes = cmp.Or(settings.MaxBytes, int64(1)<<40)
	client := rest.Guarded(settings.permits, settings.Reach.Proxy, settings.Token).Trusting(settings.Reach.Roots)
	return &Source{settings: settings, base: base, http: client}, nil
}

// permits asks the host, but not about the stores of clouds, where exports are:
// nobody in git names them, and they are never this machine.
func (s Settings) permits(host string, at netip.Addr) error {
	if cloudStore(host) && !at.IsLoopback() {
		return nil
	}
	return s.Reach.Permits(host, at)
}

// cloudStore says whether a host is of S3, Cloud Storage or Azure's Blob Storage.
func cloudStore(host string) bool {
	host = strings.ToLower(host)
	bucket, amazon := strings.CutSuffix(strings.TrimSuffix(host, ".cn"), ".amazonaws.com")
	amazon = amazon && slices.ContainsFunc(strings.Split(bucket, "."), func(label string) bool { return label == "s3" || strings.HasPrefix(label, "s3-") })
	return amazon || host == "storage.googleapis.com" || strings.HasSuffix(host, ".storage.googleapis.com") || strings.HasSuffix(host, ".blob.core.windows.net")
}

// Discover lists tables with their columns, keys and sizes.
func (s *Source) Discover(ctx context.Context, limit int) ([]connectors.Discovered, bool, error) {
	defer s.http.Close()
	if err := s.verify(ctx); err != nil {
		return nil, false, err
	}
	tables, more, err := s.tables(ctx, limit)
	if err != nil {
		return nil, false, fmt.Errorf("list tables: %w", err)
	}
	taken := map[string]bool{}
	found := make([]connectors.Discovered, 0, len(tables))
	for _, t := range tables {
		d := connectors.Discovered{ID: t.ID, Name: propose(t, taken), Description: t.description(), Rows: t.RowsCount, Bytes: t.DataSizeBytes, PrimaryKey: t.PrimaryKey}
		for _, name := range t.Columns {
			d.Columns = append(d.Columns, connectors.Column{Name: name, Type: t.typeOf(name)})
		}
		found = append(found, d)
	}
	return found, more, nil
}

// Sync exports tables one after the other. It ends early only when the token is
// refused or ctx ends.
func (s *Source) Sync(ctx context.Context, job connectors.Job) (connectors.Report, error) {
	defer s.http.Close()
	if job.Log != nil {
		s.http.Retry = func(err error, after time.Duration) {
			job.Log.WithFields(logrus.Fields{"after": after.Round(time.Millisecond), "cause": err}).Debug("asking Keboola again")
		}
	}
	past, note := readState(job.State)
	err := s.verify(ctx)
	var report connectors.Report
	next := past.Kept(job.Tables)
	for _, spec := range job.Tables {
		if err != nil {
			report.Tables = append(report.Tables, failure(spec, err))
			continue
		}
		result, left, problem := s.export(ctx, job, spec, past.Tables[spec.Name])
		if problem != nil {
			result = failure(spec, problem)
			if ctx.Err() != nil || errors.Is(problem, errToken) {
				err = problem
			}
		} else {
			next.Tables[spec.Name] = left
		}
		if note != "" {
			result.Warnings = append(result.Warnings, note)
		}
		report.Tables = append(report.Tables, result)
	}
	report.State = next.Encode()
	return report, err
}

func failure(spec connectors.TableSpec, err error) connectors.TableResult {
	return connectors.TableResult{Table: spec.Name, Outcome: connectors.Failed, Error: err.Error(), Hint: connectors.Hint(err)}
}

// errToken is a token that the service does not take: nothing else will work.
var errToken = errors.New("the token was refused")

// explain adds to an error of the API what can be done about it.
func explain(err error) error {
	switch rest.Code(err) {
	case http.StatusUnauthorized:
		return connectors.WithHint(fmt.Errorf("%w: %w", errToken, err), tokenHint)
	case http.StatusForbidden:
		return connectors.WithHint(err, "Missing/invalid KEBOOLA_STORAGE_TOKEN: the token may not do this; give it read access to the bucket of this table")
	case http.StatusNotFound:
		return connectors.WithHint(err, "Name the table as stage.c-bucket.table, as discovery shows it, and see that url is the stack of this project")
	}
	return err
}
