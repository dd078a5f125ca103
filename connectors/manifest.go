package connectors

import (
	"time"

	"github.com/fairlead/fairlead/desired"
)

// Manifest says what one generation of a source holds. It is manifest.json in
// the generation's directory, written last: a directory without it is no
// generation. Nothing in a generation is changed after that.
type Manifest struct {
	Version    int             `json:"version"` // 1
	Source     string          `json:"source"`
	Generation int             `json:"generation"`
	Identity   string          `json:"identity,omitempty"` // of the connector that it was made for
	Commit     string          `json:"commit,omitempty"`
	At         time.Time       `json:"at"`
	Tables     []ManifestTable `json:"tables"`
	Remotes    []Remote        `json:"remotes,omitempty"`
}

// ManifestTable is one table of a generation.
type ManifestTable struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Owner       string            `json:"owner,omitempty"`
	QueryMode   desired.QueryMode `json:"query_mode"`
	Rows        int64             `json:"rows"`
	Bytes       int64             `json:"bytes"`
	Columns     []Column          `json:"columns"`
	PrimaryKey  []string          `json:"primary_key,omitempty"`
	// ExtractedAt is of the rows: a table that failed in a run keeps those of the
	// generation before, and their time.
	ExtractedAt time.Time `json:"extracted_at"`
	// Files are Parquet under data/; none for a remote table.
	Files  []ManifestFile `json:"files,omitempty"`
	Remote *RemoteTable   `json:"remote,omitempty"`
	// SchemaChanges say how the columns differ from the generation before.
	SchemaChanges []string `json:"schema_changes,omitempty"`
}

// ManifestFile is a file of a generation.
type ManifestFile struct {
	Path   string `json:"path"` // data/orders.parquet, data/orders/2026-01.parquet
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// Modified is the time on the file when it was hashed: one that has another is
	// hashed again before it is attached.
	Modified time.Time `json:"modified,omitzero"`
}

// Remote is a database of somebody else's that is attached (_remote_attach).
type Remote struct {
	Alias     string `json:"alias"`
	Extension string `json:"extension"`
	URL       string `json:"url"`
	TokenEnv  string `json:"token_env,omitempty"` // the name of a variable, never its value
}

// RemoteTable is where a remote table is.
type RemoteTable struct {
	Alias  string `json:"alias"`
	Schema string `json:"schema"`
	Table  string `json:"table"`
}

// Problem is one thing that is wrong with what a connector left, and how it is
// mended. Code is one word and stable.
type Problem struct {
	Code  string `json:"code"`
	File  string `json:"file,omitempty"`  // in the directory that was looked at
	Table string `json:"table,omitempty"` // and column, as table.column
	Found string `json:"found"`
	Hint  string `json:"hint,omitempty"`
}
