package desired

import "time"

// Connector is a file of the connectors directory, as written. The tags are
// those of Instance.
type Connector struct {
	Description string    `json:"description,omitempty" is:"prose" doc:"What the data is, for whoever looks into the catalog."`
	Owner       string    `json:"owner,omitempty" is:"line" doc:"Whom to ask about the data."`
	Schedule    string    `json:"schedule,omitempty" is:"schedule" default:"when it changed, and when it is asked to" doc:"When it runs."`
	Timezone    string    `json:"timezone,omitempty" is:"timezone" default:"UTC" doc:"The time zone of schedule, and of the schedules of tables."`
	CatchUp     *bool     `json:"catchUp,omitempty" default:"true" doc:"Makes up, once, for times that passed while nothing could run."`
	Timeout     *Duration `json:"timeout,omitempty" is:"runLimit" default:"1h" doc:"How long one run may take."`
	Retries     *int      `json:"retries,omitempty" is:"retries" default:"3" doc:"How often a run that failed is tried again before the next time of the schedule."`
	Keep        int       `json:"keep,omitempty" is:"keep" default:"3" doc:"How many generations of the data, and logs of runs, are kept."`
	Tables      []Table   `json:"tables,omitempty" empty:"true" doc:"The tables that are wanted; [] while none is chosen. A program needs no entry: what is said here adds to what it says of its tables."`

	Files    *FilesConnector    `json:"files,omitempty" doc:"Reads files: of the host, by https, of S3 and of Google Cloud Storage."`
	Keboola  *KeboolaConnector  `json:"keboola,omitempty" doc:"Reads a project of Keboola."`
	BigQuery *BigQueryConnector `json:"bigquery,omitempty" doc:"Reads BigQuery."`
	Jira     *JiraConnector     `json:"jira,omitempty" doc:"Reads Jira, Cloud or Data Center."`
	Postgres *PostgresConnector `json:"postgres,omitempty" doc:"Reads a PostgreSQL database."`

	Image        string            `json:"image,omitempty" is:"image" default:"one of Python, in a directory" doc:"The image of the container that the program runs in."`
	Run          []string          `json:"run,omitempty" is:"argument" default:"extractor.* of the directory; without one, the image's own" doc:"The command. No shell reads it."`
	Requirements string            `json:"requirements,omitempty" is:"file" default:"requirements.txt, when it is there" doc:"The file of the directory that names Python packages. They are installed once for each content of it."`
	Host         bool              `json:"host,omitempty" default:"false" doc:"Runs the directory as a process of the host instead of in a container. The host has to permit it."`
	Env          map[string]string `json:"env,omitempty" keys:"env" is:"envValue" doc:"The variables that the program sees, and all that it sees."`
	Network      bool              `json:"network,omitempty" default:"false" doc:"Gives the program the network."`
	Memory       *Size             `json:"memory,omitempty" is:"memory" default:"512MiB" doc:"How much memory the program may use."`
	CPUs         float64           `json:"cpus,omitempty" is:"cpus" default:"no bound" doc:"How many CPUs the program may use."`
	Disk         *Size             `json:"disk,omitempty" is:"disk" default:"10GiB" doc:"How much the program may write."`
	User         string            `json:"user,omitempty" is:"user" default:"the image's" doc:"The user, or user and group, that the program runs as."`
}

// Table is one table that a connector is to bring.
type Table struct {
	Name        string            `json:"name" need:"true" is:"table" doc:"The table's name in the catalog."`
	ID          string            `json:"id,omitempty" is:"tableID" default:"name" doc:"The table at the service: stage.c-bucket.table of Keboola, schema.table of PostgreSQL, dataset.table of BigQuery, a name from the list of Jira."`
	Strategy    string            `json:"strategy,omitempty" is:"strategy" default:"full" doc:"full takes everything each time, incremental what changed since, partitioned the parts in which something changed."`
	PrimaryKey  []string          `json:"primaryKey,omitempty" is:"column" unique:"true" default:"the source's" doc:"The columns that make a row the same row."`
	Columns     []string          `json:"columns,omitempty" is:"column" unique:"true" default:"all" doc:"The columns that are wanted."`
	Where       string            `json:"where,omitempty" is:"query" doc:"Which rows are wanted, in the service's own form."`
	Query       string            `json:"query,omitempty" is:"query" doc:"What is asked of the service; its answer is the table. With queryMode materialized."`
	QueryMode   string            `json:"queryMode,omitempty" is:"queryMode" default:"local" doc:"local copies the table, remote asks the service at each query, materialized copies the answer to query."`
	Schedule    string            `json:"schedule,omitempty" is:"schedule" default:"the connector's" doc:"When this table is brought."`
	Description string            `json:"description,omitempty" is:"prose" doc:"What the table holds, for whoever looks into the catalog."`
	Owner       string            `json:"owner,omitempty" is:"line" default:"the connector's" doc:"Whom to ask about the table."`
	Paths       []string          `json:"paths,omitempty" is:"dataPath" unique:"true" doc:"Of files: paths under dir, or https, s3 and gs URLs. A star stands for anything but a slash, two for anything."`
	Format      string            `json:"format,omitempty" is:"format" default:"that of the name's ending" doc:"Of files: how they are written."`
	Types       map[string]string `json:"types,omitempty" keys:"column" is:"duckType" default:"found out" doc:"Of files and programs: the types of columns, as DuckDB writes them."`
	Options     map[string]string `json:"options,omitempty" keys:"option" is:"envValue" doc:"Of files: how CSV is read."`
}

// FilesConnector says how files are reached.
type FilesConnector struct {
	Dir     string            `json:"dir,omitempty" is:"hostPath" doc:"The directory of the host that paths without a scheme are under. The host has to permit it."`
	Headers map[string]string `json:"headers,omitempty" keys:"hostHeader" is:"headerValue" doc:"Headers that are sent by https: NAME, or HOST/NAME where there are several hosts. The secrets among them are written ${secret:NAME}."`
	S3      *S3Connector      `json:"s3,omitempty" default:"as the machine may" doc:"How s3:// is reached."`
	GS      *GSConnector      `json:"gs,omitempty" default:"as the machine may" doc:"How gs:// is reached."`
}

// S3Connector says how s3:// is reached.
type S3Connector struct {
	Endpoint  string `json:"endpoint,omitempty" is:"serviceURL" default:"AWS" doc:"The address of another store that speaks S3."`
	Region    string `json:"region,omitempty" is:"region" default:"the machine's" doc:"The region of the buckets."`
	AccessKey string `json:"accessKey,omitempty" is:"token" default:"the machine's role" doc:"The ID of an access key."`
	SecretKey string `json:"secretKey,omitempty" is:"token" doc:"The secret of the access key: ${secret:NAME}."`
}

// GSConnector says how gs:// is reached.
type GSConnector struct {
	Endpoint string `json:"endpoint,omitempty" is:"serviceURL" default:"Google" doc:"The address of another store that speaks its API."`
	Key      string `json:"key,omitempty" is:"accountKey" default:"the machine's account" doc:"The JSON key of a service account: ${secret:NAME}."`
}

// KeboolaConnector says which project is read.
type KeboolaConnector struct {
	URL   string `json:"url" need:"true" is:"serviceURL" doc:"The address of the stack: https://connection.keboola.com and the like."`
	Token string `json:"token" need:"true" is:"token" doc:"A Storage API token that may read the buckets: ${secret:NAME}."`
}

// BigQueryConnector says who asks.
type BigQueryConnector struct {
	Project        string `json:"project" need:"true" is:"project" doc:"The project that pays for what is asked."`
	Location       string `json:"location,omitempty" is:"location" default:"found out" doc:"Where the data is."`
	Key            string `json:"key,omitempty" is:"accountKey" default:"the machine's account" doc:"The JSON key of a service account: ${secret:NAME}."`
	Endpoint       string `json:"endpoint,omitempty" is:"serviceURL" default:"Google" doc:"Another address of the API."`
	MaxBytesBilled *Size  `json:"maxBytesBilled,omitempty" is:"billed" default:"no bound" doc:"A query that would read more is refused before it runs."`
}

// JiraConnector says which Jira is read, and which issues.
type JiraConnector struct {
	URL           string `json:"url" need:"true" is:"serviceURL" doc:"Its address: https://acme.atlassian.net, or with a path."`
	Email         string `json:"email,omitempty" is:"login" doc:"Cloud: the user of the token."`
	Token         string `json:"token,omitempty" is:"token" doc:"Cloud: an API token: ${secret:NAME}."`
	PAT           string `json:"pat,omitempty" is:"token" doc:"Data Center: a personal access token: ${secret:NAME}."`
	JQL           string `json:"jql,omitempty" is:"query" default:"all that may be seen" doc:"Which issues, for all tables; without ORDER BY."`
	WebhookSecret string `json:"webhookSecret,omitempty" is:"token" default:"every webhook is refused" doc:"What webhooks are signed with: ${secret:NAME}."`
}

// PostgresConnector says which database is read.
type PostgresConnector struct {
	URL      string `json:"url" need:"true" is:"postgresURL" doc:"postgres://USER:PASSWORD@HOST:5432/DATABASE. The password, or all of it, is written ${secret:NAME}."`
	CA       string `json:"ca,omitempty" is:"file" default:"the system's" doc:"A file with certificates in PEM that are trusted besides, relative to this file."`
	TokenEnv string `json:"tokenEnv,omitempty" is:"tokenEnv" default:"made of the connector's name" doc:"The name under which the password is given to an attached database (queryMode remote)."`
}

// What holds when the file of a connector does not say.
const (
	DefaultRunTimeout       = time.Hour
	DefaultRunRetries       = 3
	DefaultKeep             = 3
	DefaultMemory     int64 = 512 << 20
	DefaultDisk       int64 = 10 << 30
)
