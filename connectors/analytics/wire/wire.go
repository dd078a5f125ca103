// Package wire is what the daemon and its DuckDB child processes say to each
// other: the requests, the answers and how they are framed on a pipe. Neither
// side's work is here, and nothing here opens a database.
package wire

import (
	"encoding/json"
	"time"

	"github.com/fairlead/fairlead/connectors"
)

// The children are this same program, started with one of these as its last
// argument. Build and Check read one request from standard input, write one
// reply to standard output and end; Worker goes on until its input ends.
const (
	Worker = "worker"
	Build  = "build"
	Check  = "check"
	Export = "export"
)

// BuildRequest asks for a generation: Parquet files, extract.duckdb and the
// tables of a manifest, in the directory To, which is empty and not published.
type BuildRequest struct {
	From connectors.Publication `json:"from"`
	To   string                 `json:"to"`
	// Before is the generation that is there, and its directory: tables and parts
	// that did not change are linked from it. Nil: there is none.
	Before    *connectors.Manifest `json:"before,omitempty"`
	BeforeDir string               `json:"before_dir,omitempty"`
	Limits    BuildLimits          `json:"limits"`
	// Remote says what an attached database may be.
	Remote RemotePolicy `json:"remote"`
}

// BuildLimits bound a build. Zero values stand for the defaults of the child.
type BuildLimits struct {
	MaxBytes  int64  `json:"max_bytes,omitempty"` // of one file that is read
	MaxTables int    `json:"max_tables,omitempty"`
	Memory    string `json:"memory,omitempty"` // as DuckDB writes it: 512MB
	Threads   int    `json:"threads,omitempty"`
	TempDir   string `json:"temp_dir,omitempty"`
}

// RemotePolicy are the allow-lists of databases that are attached.
type RemotePolicy struct {
	Extensions []string `json:"extensions,omitempty"`
	Tokens     []string `json:"tokens,omitempty"` // names of variables
	Hosts      []string `json:"hosts,omitempty"`  // HOST, HOST:PORT or *.DOMAIN
}

// BuildReply is what became of a build.
type BuildReply struct {
	// Manifest has no number and no hashes yet: whoever publishes it fills them in.
	Manifest *connectors.Manifest     `json:"manifest,omitempty"`
	Tables   []connectors.TableResult `json:"tables,omitempty"`
	Problems []connectors.Problem     `json:"problems,omitempty"`
	Error    string                   `json:"error,omitempty"`
	// Unconfined is what of the kernel's confinement could not be had.
	Unconfined string `json:"unconfined,omitempty"`
}

// CheckRequest asks what is wrong with a directory or an extract.duckdb that
// was left by a connector.
type CheckRequest struct {
	Path   string       `json:"path"`
	Limits BuildLimits  `json:"limits"`
	Remote RemotePolicy `json:"remote"`
}

// CheckReply is what was found.
type CheckReply struct {
	Form     string                     `json:"form"` // "extract" or "simple"
	Tables   []connectors.ManifestTable `json:"tables,omitempty"`
	Remotes  []connectors.Remote        `json:"remotes,omitempty"`
	Problems []connectors.Problem       `json:"problems,omitempty"`
	Error    string                     `json:"error,omitempty"`
	// Unconfined is what of the kernel's confinement could not be had.
	Unconfined string `json:"unconfined,omitempty"`
}

// ExportRequest asks for a database file with views over what is attached, and
// the script that attaches it, for other readers.
type ExportRequest struct {
	Sources []Source          `json:"sources"`
	Flat    map[string]string `json:"flat"`
	To      string            `json:"to"` // the database file; the script is beside it, attach.sql
}

// Setup is the first message to a worker.
type Setup struct {
	// Allowed are the directories that files may be read from, Temp is where the
	// worker may write.
	Allowed    []string `json:"allowed"`
	Temp       string   `json:"temp"`
	Memory     string   `json:"memory"`      // of DuckDB: 512MB
	MaxAddress int64    `json:"max_address"` // bytes of data that the process may have at all (RLIMIT_DATA)
	MaxFile    int64    `json:"max_file"`    // bytes of one file that it writes
	Threads    int      `json:"threads"`
	Extensions string   `json:"extensions"` // the directory that extensions are kept in
	// Remotes are attached before the worker is locked; a change of them takes a
	// new worker. Tokens are the values of their variables.
	Remotes []connectors.Remote `json:"remotes,omitempty"`
	Tokens  map[string]string   `json:"tokens,omitempty"`
	Policy  RemotePolicy        `json:"policy"`
}

// Request is a message to a worker that was set up. One of its fields is set;
// the worker does one at a time.
type Request struct {
	ID      int64    `json:"id"`
	Attach  *Attach  `json:"attach,omitempty"`
	Query   *Query   `json:"query,omitempty"`
	Profile *Profile `json:"profile,omitempty"`
}

// Attach changes what a worker has, between two statements: the sources that are
// named are those of their new generations, those of Detach are gone, and the flat
// names are as Flat says. A source that cannot be attached keeps what it had and is
// in the reply. A file that is damaged later fails the statement that reads it.
type Attach struct {
	Sources []Source `json:"sources,omitempty"`
	Detach  []string `json:"detach,omitempty"`
	// Flat are the names without a source that change: "orders" -> "shop.orders";
	// an empty text takes the name away.
	Flat map[string]string `json:"flat,omitempty"`
	// System are tables of Fairlead's own (fairlead.history) that changed.
	System []SystemTable `json:"system,omitempty"`
}

// Source is a generation as a worker attaches it.
type Source struct {
	Name       string                     `json:"name"`
	Generation int                        `json:"generation"`
	Dir        string                     `json:"dir"`
	Tables     []connectors.ManifestTable `json:"tables"`
}

// SystemTable is a table whose rows come as a file of JSON lines.
type SystemTable struct {
	Name    string              `json:"name"` // in the schema fairlead
	Columns []connectors.Column `json:"columns"`
	File    string              `json:"file"`
}

// Format is how the rows of a result are written.
type Format string

// The formats.
const (
	FormatJSON    Format = "json" // JSON lines, an array of values each
	FormatCSV     Format = "csv"
	FormatArrow   Format = "arrow" // a stream of Arrow IPC
	FormatParquet Format = "parquet"
)

// Query is one statement of a user.
type Query struct {
	SQL      string        `json:"sql"`
	Format   Format        `json:"format"`
	Offset   int64         `json:"offset,omitempty"`
	MaxRows  int64         `json:"max_rows"`
	MaxBytes int64         `json:"max_bytes"` // of the result as it is written
	Deadline time.Duration `json:"deadline"`  // after which the worker gives up by itself
}

// Profile asks what is in a column.
type Profile struct {
	Source string `json:"source"`
	Table  string `json:"table"`
	Column string `json:"column"`
	// Deadline is when the worker gives up by itself; 0: after half a minute.
	Deadline time.Duration `json:"deadline,omitempty"`
}

// Reply is a message of a worker. Data of a query comes between its Head and
// its Tail, in frames of their own.
type Reply struct {
	ID      int64           `json:"id"`
	Ready   *Ready          `json:"ready,omitempty"` // to Setup
	Attach  *AttachReply    `json:"attach,omitempty"`
	Head    *Head           `json:"head,omitempty"`
	Tail    *Tail           `json:"tail,omitempty"`
	Profile json.RawMessage `json:"profile,omitempty"`
	Error   *Error          `json:"error,omitempty"`
}

// Ready says that a worker is set up, and which remotes could not be attached.
type Ready struct {
	Version string            `json:"version"` // of DuckDB
	Remotes map[string]string `json:"remotes,omitempty"`
	// Landlock says that the kernel, too, keeps the worker to its directories;
	// else Unconfined says why it does not.
	Landlock   bool   `json:"landlock"`
	Unconfined string `json:"unconfined,omitempty"`
}

// AttachReply says what a worker has now, by source, and what could not be done.
type AttachReply struct {
	Have   map[string]int    `json:"have"`
	Failed map[string]string `json:"failed,omitempty"`
}

// Head comes before the rows.
type Head struct {
	Columns []connectors.Column `json:"columns"`
}

// Tail comes after the rows.
type Tail struct {
	Rows      int64         `json:"rows"`
	Bytes     int64         `json:"bytes"`
	Truncated bool          `json:"truncated"` // there are more rows
	Took      time.Duration `json:"took"`
}

// Error is why a request was not done. Code is one of the codes below.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// The codes of errors.
const (
	CodeRefused  = "refused"  // the statement is not one that may be run
	CodeSyntax   = "syntax"   // it cannot be read
	CodeNotFound = "notFound" // it names what is not there
	CodeFailed   = "failed"   // it ran and failed: a conversion, a division
	CodeDeadline = "deadline"
	CodeMemory   = "memory"
	CodeTooLarge = "tooLarge" // one row alone is more than MaxBytes
	CodeFatal    = "fatal"    // the worker is of no use any more
)

func (e *Error) Error() string { return e.Message }
