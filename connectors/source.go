package connectors

import (
	"context"
	"encoding/json"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/sirupsen/logrus"
)

// Source is a connector that is built in (tier C). It is made for one run, or
// one discovery, with settings that were checked before, and writes nothing but
// the files of a Job.
type Source interface {
	// Discover lists the tables that the service has and these credentials may
	// read, bounded by limit; more says that there are others.
	Discover(ctx context.Context, limit int) (found []Discovered, more bool, err error)
	// Sync extracts tables. What a table came to is in the Report, also beside
	// an error, which says that the whole run had to end.
	Sync(ctx context.Context, job Job) (Report, error)
}

// Discovered is a table that a service has.
type Discovered struct {
	ID          string   `json:"id"`   // as a TableSpec names it
	Name        string   `json:"name"` // a proposal that is a valid table name
	Description string   `json:"description,omitempty"`
	Rows        *int64   `json:"rows,omitempty"` // where the service tells
	Bytes       *int64   `json:"bytes,omitempty"`
	Columns     []Column `json:"columns,omitempty"`
	PrimaryKey  []string `json:"primary_key,omitempty"`
}

// Strategy is how a table is extracted.
type Strategy string

// The strategies.
const (
	Full        Strategy = "full"        // everything, each time
	Incremental Strategy = "incremental" // what changed since the last good run, joined by primary key
	Partitioned Strategy = "partitioned" // parts of their own, of which those that changed are replaced
)

// TableSpec is one table that is wanted.
type TableSpec struct {
	Name       string   `json:"name"` // in the catalog
	ID         string   `json:"id"`   // at the service
	Strategy   Strategy `json:"strategy,omitempty"`
	PrimaryKey []string `json:"primary_key,omitempty"`
	Columns    []string `json:"columns,omitempty"` // none: all
	Where      string   `json:"where,omitempty"`   // a filter in the service's own form
	// Query is what is asked instead of a table, where the source can.
	Query string `json:"query,omitempty"`
	// QueryMode is where the rows are to be; empty: local. Of a remote table a
	// source reads only what it says of it, and reports where it is.
	QueryMode desired.QueryMode `json:"query_mode,omitempty"`
	// Paths, Format, Types and Options are of files, as desired.ConnectorTable has them.
	Paths   []string          `json:"paths,omitempty"`
	Format  string            `json:"format,omitempty"`
	Types   map[string]string `json:"types,omitempty"`
	Options map[string]string `json:"options,omitempty"`
}

// Job is one run of a source.
type Job struct {
	// Dir is an empty directory. A table is a file NAME.csv, NAME.ndjson (each
	// also with .gz) or NAME.parquet in it, or a directory NAME of such parts.
	Dir    string
	Tables []TableSpec
	// State is what the last run that went well left for the next one; nil on
	// the first. A table that fails keeps its part of it.
	State json.RawMessage
	Now   time.Time
	// Progress is told how far a table is; total is 0 while unknown. It may be nil.
	Progress func(table string, done, total int64)
	Log      *logrus.Entry // nil: nothing is logged
}

// Column is a column with its type as DuckDB writes it: VARCHAR, BIGINT, DOUBLE,
// DECIMAL(12,2), BOOLEAN, DATE, TIMESTAMP, JSON.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type,omitempty"` // empty: to be found out
}

// Outcome is what became of a run, or of a table in it.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"
	Partial Outcome = "partial" // some of it; what is there is good
	Failed  Outcome = "failed"
)

// TableResult is what one table came to.
type TableResult struct {
	Table   string   `json:"table"`
	Outcome Outcome  `json:"outcome"`
	Rows    int64    `json:"rows"`
	Bytes   int64    `json:"bytes"`
	Columns []Column `json:"columns,omitempty"`
	// Changes says that the files hold only what changed, to be joined with what
	// is there by PrimaryKey. Of a partitioned table it says that Parts, which may
	// be none, replace those of the same names; without it the parts in the files
	// are all there are, and Parts is empty.
	Changes    bool     `json:"changes,omitempty"`
	PrimaryKey []string `json:"primary_key,omitempty"`
	// Parts are the parts of a partitioned table that were written, by name; the
	// others stay what they were.
	Parts []string `json:"parts,omitempty"`
	// Gone are parts of before that are no more; with Changes only.
	Gone        []string `json:"gone,omitempty"`
	Description string   `json:"description,omitempty"`
	Error       string   `json:"error,omitempty"` // nothing secret
	Hint        string   `json:"hint,omitempty"`
	Warnings    []string `json:"warnings,omitempty"`
	// Remote is where a remote table is, which has no files. Its Alias is one of
	// the Report's Remotes.
	Remote *RemoteTable `json:"remote,omitempty"`
}

// Report is what a run came to.
type Report struct {
	Tables []TableResult `json:"tables"`
	// Remotes are the databases that remote tables are in.
	Remotes []Remote `json:"remotes,omitempty"`
	// State is for the next run. It holds nothing secret.
	State json.RawMessage `json:"state,omitempty"`
}

// Outcome is that of the run as a whole: ok when every table is, failed when none
// gave anything.
func (r Report) Outcome() Outcome {
	good, bad := 0, 0
	for _, t := range r.Tables {
		switch t.Outcome {
		case OK:
			good++
		case Failed:
			bad++
		}
	}
	switch {
	case good == len(r.Tables):
		return OK
	case bad == len(r.Tables):
		return Failed
	}
	return Partial
}
