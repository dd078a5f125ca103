package desired

import "time"

// ConnectorSpec is one source of data: what is read, when, and by what. Exactly
// one of Files, Keboola, BigQuery, Jira, Postgres and Program is set.
type ConnectorSpec struct {
	Description string `json:"description,omitempty"`
	Owner       string `json:"owner,omitempty"` // whom to ask about the data
	// Schedule says when it runs; nil: when it changed, and when it is asked to.
	Schedule *Schedule `json:"schedule,omitempty"`
	// CatchUp makes up, once, for times that passed while nothing could run.
	CatchUp bool `json:"catch_up,omitempty"`
	// Timeout bounds one run, Retries is how often a failed one is tried again
	// before the next time of the schedule.
	Timeout time.Duration `json:"timeout,omitempty"`
	Retries int           `json:"retries,omitempty"`
	// Keep is how many generations of the data, and logs of runs, are kept.
	Keep   int              `json:"keep,omitempty"`
	Tables []ConnectorTable `json:"tables,omitempty"`

	Files    *FilesSource    `json:"files,omitempty"`
	Keboola  *KeboolaSource  `json:"keboola,omitempty"`
	BigQuery *BigQuerySource `json:"bigquery,omitempty"`
	Jira     *JiraSource     `json:"jira,omitempty"`
	Postgres *PostgresSource `json:"postgres,omitempty"`
	Program  *ProgramSource  `json:"program,omitempty"`

	// Identity identifies what is asked for without the values of secrets: equal
	// ones mean that data which is there is still what is wanted.
	Identity string `json:"identity,omitempty"`
}

// Kind is the name of the source: files, keboola, bigquery, jira, postgres,
// container or program.
func (c ConnectorSpec) Kind() string {
	switch {
	case c.Files != nil:
		return "files"
	case c.Keboola != nil:
		return "keboola"
	case c.BigQuery != nil:
		return "bigquery"
	case c.Jira != nil:
		return "jira"
	case c.Postgres != nil:
		return "postgres"
	case c.Program != nil && c.Program.Files == "":
		return "container"
	}
	return "program"
}

// Tier is a for a mounted directory, b for a container of its own, c for what
// is built in.
func (c ConnectorSpec) Tier() string {
	switch {
	case c.Program == nil:
		return "c"
	case c.Program.Files == "":
		return "b"
	}
	return "a"
}

// QueryMode is where the rows of a table are when it is asked.
type QueryMode string

// The query modes.
const (
	QueryLocal        QueryMode = "local"        // copied here
	QueryRemote       QueryMode = "remote"       // at the service, asked through an attached database
	QueryMaterialized QueryMode = "materialized" // the result of a query there, copied here
)

// ConnectorTable is one table that is wanted. Tables of tiers a and b need no
// entry: it adds to what the program says of them.
type ConnectorTable struct {
	Name        string    `json:"name"`         // in the catalog
	ID          string    `json:"id,omitempty"` // at the service; Name when it is left out
	Strategy    string    `json:"strategy,omitempty"`
	PrimaryKey  []string  `json:"primary_key,omitempty"`
	Columns     []string  `json:"columns,omitempty"`
	Where       string    `json:"where,omitempty"`
	Query       string    `json:"query,omitempty"` // materialized: what is asked
	QueryMode   QueryMode `json:"query_mode,omitempty"`
	Schedule    *Schedule `json:"schedule,omitempty"` // of its own
	Description string    `json:"description,omitempty"`
	Owner       string    `json:"owner,omitempty"`
	// Paths, Format, Types and Options are of files: references or globs; csv,
	// tsv, parquet, json or ndjson; declared types by column; how CSV is read.
	Paths   []string          `json:"paths,omitempty"`
	Format  string            `json:"format,omitempty"`
	Types   map[string]string `json:"types,omitempty"`
	Options map[string]string `json:"options,omitempty"`
}

// FilesSource reads files: local ones under a directory of the host, https,
// s3 and gs.
type FilesSource struct {
	// Dir is the directory of the host that local paths are under.
	Dir     string            `json:"dir,omitempty"`
	Headers map[string]string `json:"headers,omitempty"` // of https; secrets
	S3      *S3Access         `json:"s3,omitempty"`
	GS      *GSAccess         `json:"gs,omitempty"`
}

// S3Access is how s3:// is reached; without keys those of the machine count.
type S3Access struct {
	Endpoint  string `json:"endpoint,omitempty"` // of a store that speaks S3; empty: AWS
	Region    string `json:"region,omitempty"`
	AccessKey string `json:"access_key,omitempty"`
	SecretKey string `json:"secret_key,omitempty"` // a secret
}

// GSAccess is how gs:// is reached; without a key the machine's account counts.
type GSAccess struct {
	Endpoint string `json:"endpoint,omitempty"`
	Key      string `json:"key,omitempty"` // JSON of a service account; a secret
}

// KeboolaSource reads a Keboola project by its Storage API.
type KeboolaSource struct {
	URL   string `json:"url"`
	Token string `json:"token"` // a secret
}

// BigQuerySource reads a project of BigQuery.
type BigQuerySource struct {
	Project  string `json:"project"` // that pays
	Location string `json:"location,omitempty"`
	Key      string `json:"key,omitempty"` // JSON of a service account, a secret; empty: the machine's account
	Endpoint string `json:"endpoint,omitempty"`
	// MaxBytesBilled refuses a query that would read more; 0: no bound.
	MaxBytesBilled int64 `json:"max_bytes_billed,omitempty"`
}

// JiraSource reads a Jira, Cloud or Data Center.
type JiraSource struct {
	URL   string `json:"url"`
	Email string `json:"email,omitempty"`
	Token string `json:"token,omitempty"` // a secret
	PAT   string `json:"pat,omitempty"`   // a secret
	JQL   string `json:"jql,omitempty"`
	// WebhookSecret checks that a webhook is Jira's.
	WebhookSecret string `json:"webhook_secret,omitempty"`
}

// PostgresSource reads a PostgreSQL database.
type PostgresSource struct {
	URL string `json:"url"`          // postgres://user@host:5432/database; a secret
	CA  string `json:"ca,omitempty"` // PEM, trusted beside the system's
	// TokenEnv is the name under which the password is given to an attached
	// database (query mode remote).
	TokenEnv string `json:"token_env,omitempty"`
}

// ProgramSource is a program of the user's: in a container of its own (tier b),
// or as files of the repository (tier a) in a container or as a process.
type ProgramSource struct {
	// Image is the container's. Host runs the files as a process of this host
	// instead, where the host permits it.
	Image string `json:"image,omitempty"`
	Host  bool   `json:"host,omitempty"`
	// Files is the key in Spec.Files of the directory with the program; empty for
	// tier b. It is mounted read-only as the working directory.
	Files string `json:"files,omitempty"`
	// Run is the command; none: extractor.* of the files, or the image's own.
	Run []string `json:"run,omitempty"`
	// Requirements is a file of the directory that names Python packages, which
	// are installed once for each content of it.
	Requirements string `json:"requirements,omitempty"`
	// Env are the variables that the program sees, and all that it sees.
	Env map[string]string `json:"env,omitempty"` // secrets
	// Network gives it the network; without it there is none.
	Network bool    `json:"network,omitempty"`
	Memory  int64   `json:"memory,omitempty"` // bytes
	CPUs    float64 `json:"cpus,omitempty"`
	Disk    int64   `json:"disk,omitempty"` // bytes that it may write
	User    string  `json:"user,omitempty"`
}
