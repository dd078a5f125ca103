package connectors

import (
	"context"
	"time"
)

// Publisher makes what runs leave into generations and has them attached.
// Package connectors/analytics implements it.
type Publisher interface {
	// Publish checks what a run left and makes a generation of it. A table that
	// is not good keeps what the generation before had of it, and is in the
	// result as failed. The error says that nothing could be made at all.
	Publish(ctx context.Context, p Publication) (Published, error)
	// Keep says which sources of an instance are to be attached, by name, with
	// the identity that each is wanted in. Of one that has a generation of this
	// identity the newest such is attached at once, else what is attached stays.
	// Sources that are not named are detached; their data stays.
	Keep(instance string, want map[string]string)
	// Attached tells what the query workers of an instance really have.
	Attached(instance string) []Attached
}

// Publication is what a run left.
type Publication struct {
	Instance string
	Source   string
	Identity string // of the connector
	Commit   string
	// Dir holds the files of a Job; or, of tiers a and b, out/ with files of the
	// simple output, or with an extract.duckdb and its data/.
	Dir string
	// Built says that Tables came from a built-in source; else they are read from
	// the directory, which nobody trusts.
	Built   bool
	Tables  []TableResult
	Remotes []Remote
	// Wanted adds what the desired state says of tables, by name.
	Wanted map[string]Wanted
	// Only are the tables that this run was for; the others keep what they have.
	// Empty: the run was for all, and a table that is not there is gone.
	Only []string
	// Base is the generation that Changes are changes of. When it is not there any
	// more the tables with Changes fail, with a Problem BaseLost, and the next run
	// has to be one of everything. 0: the newest there is.
	Base int
	Keep int // generations, this one included
	At   time.Time
}

// Wanted is what the desired state says of a table.
type Wanted struct {
	QueryMode   string
	Description string
	Owner       string
	PrimaryKey  []string
	Types       map[string]string // declared, by column, as DuckDB writes them
	Remote      *RemoteTable      // of a remote table
}

// Published is what became of a Publication.
type Published struct {
	Generation int // 0: nothing was good, the one before stays
	Tables     []TableResult
	Problems   []Problem
}

// Attached is a source as the query workers have it.
type Attached struct {
	Source     string
	Generation int
	Identity   string
	Commit     string
	At         time.Time // of the generation
	Tables     []ManifestTable
	// Behind says that a worker has another generation, or none; Problem why.
	Behind  bool
	Problem string
	Hint    string
	// Lost says that the newest data there was is damaged, or that there is none:
	// only a run brings it again.
	Lost bool
	// Conflicts are flat names that another source has.
	Conflicts []string
}
