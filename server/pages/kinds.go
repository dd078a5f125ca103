package pages

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/server"
)

// sourceKind is a source of data that can be set up on a page.
type sourceKind struct {
	Kind, Title, Text string
	// Advice is how one comes by the credentials, and what they need to be allowed.
	Advice string
	Fields []question
}

// question is one thing that is asked.
type question struct {
	Name, Label, Help string
	Type              string // text, url, password, area, lines or select
	Example, Default  string
	Options           []option
	Secret            bool // it is never shown again
	Required          bool
	More              bool // most people need it not
}

// sourceKinds lists them in the order in which they are offered.
func sourceKinds() []sourceKind {
	return []sourceKind{
		{Kind: "files", Title: "Files", Text: "CSV, Parquet and JSON: from a folder of this machine, by https, from S3 or Google Cloud Storage",
			Advice: "Name a folder, addresses, or both. The folder has to be permitted by whoever runs this machine: connectors.dirs in agent.yaml.",
			Fields: []question{
				{Name: "dir", Label: "Folder on this machine", Type: "text", Example: "/srv/data", Help: "All files below it are offered as tables in the next step."},
				{Name: "paths", Label: "Addresses", Type: "lines", Example: "https://data.example.com/orders.csv", Help: "One a line: https://, s3:// or gs://. In s3:// and gs:// a * stands for any name."},
				{Name: "authorization", Label: "Authorization header", Type: "password", Secret: true, More: true, Example: "Bearer …", Help: "Sent with https to the one host of the addresses."},
				{Name: "region", Label: "S3 region", Type: "text", More: true, Example: "eu-central-1"},
				{Name: "access_key", Label: "S3 access key ID", Type: "text", More: true, Help: "Without one the role of this machine counts."},
				{Name: "secret_key", Label: "S3 secret access key", Type: "password", Secret: true, More: true},
				{Name: "gs_key", Label: "Google service account key (JSON)", Type: "area", Secret: true, More: true, Help: "Without one the account of this machine counts."},
			}},
		{Kind: "keboola", Title: "Keboola", Text: "Tables of a Keboola project, by its Storage API",
			Advice: "In Keboola: Project settings → API tokens → New token. It needs to read the buckets, nothing else.",
			Fields: []question{
				{Name: "url", Label: "Address of the stack", Type: "url", Required: true, Default: "https://connection.keboola.com", Help: "As it stands in the browser when you are in the project: https://connection.eu-central-1.keboola.com, https://connection.north-europe.azure.keboola.com, …"},
				{Name: "token", Label: "Storage API token", Type: "password", Required: true, Secret: true},
			}},
		{Kind: "bigquery", Title: "BigQuery", Text: "Tables, views and queries of Google BigQuery",
			Advice: "The service account needs roles/bigquery.dataViewer on the datasets and roles/bigquery.jobUser on the project.",
			Fields: []question{
				{Name: "project", Label: "Project ID", Type: "text", Required: true, Example: "acme-data"},
				{Name: "key", Label: "Service account key (JSON)", Type: "area", Secret: true, Help: "The whole file. Without one the account of this machine counts."},
				{Name: "location", Label: "Location", Type: "text", More: true, Example: "EU", Help: "Found out when it is left out."},
			}},
		{Kind: "postgres", Title: "PostgreSQL", Text: "Tables and views of a database, copied at one moment",
			Advice: "A role of its own that may only read is best. The host has to be one that this machine may reach: fetch.allowedHosts in agent.yaml.",
			Fields: []question{
				{Name: "host", Label: "Host", Type: "text", Required: true, Example: "db.example.com"},
				{Name: "port", Label: "Port", Type: "text", Default: "5432", Example: "5432"},
				{Name: "database", Label: "Database", Type: "text", Required: true, Example: "shop"},
				{Name: "user", Label: "User", Type: "text", Required: true, Example: "fairlead"},
				{Name: "password", Label: "Password", Type: "password", Secret: true},
				{Name: "sslmode", Label: "Encryption", Type: "select", Options: []option{{"", "Encrypted and checked; in the clear on this machine only"}, {"verify-ca", "Encrypted; the name is not checked"}, {"require", "Encrypted; nothing is checked"}, {"disable", "In the clear"}}},
			}},
		{Kind: "jira", Title: "Jira", Text: "Issues, comments, changes and worklogs of Jira Cloud or Data Center",
			Advice: "Cloud: id.atlassian.com → Security → API tokens. Data Center: Profile → Personal access tokens.",
			Fields: []question{
				{Name: "url", Label: "Address", Type: "url", Required: true, Example: "https://acme.atlassian.net"},
				{Name: "email", Label: "E-mail address of the token's user", Type: "text", Example: "ana@example.com", Help: "Jira Cloud only; leave it empty for Data Center."},
				{Name: "token", Label: "API token, or personal access token", Type: "password", Required: true, Secret: true},
				{Name: "jql", Label: "Which issues (JQL)", Type: "text", More: true, Example: "project in (SHOP, OPS)", Help: "All that the user may see when it is left out."},
			}},
	}
}

// control is the question as a form shows it. A secret is never shown again: an
// empty answer keeps it.
func (q question) control(value, problem string) field {
	f := field{Name: q.Name, Label: q.Label, Type: q.Type, Value: value, Hint: q.Help, Error: sentence(problem), Placeholder: q.Example, Options: q.Options, Required: q.Required, Autocomplete: "off"}
	switch q.Type {
	case "area":
		f.Type, f.Rows = "textarea", 5
	case "lines":
		f.Type, f.Rows = "textarea", 3
	case "password":
		f.Autocomplete = "new-password" // browsers fill in what they know otherwise
	}
	if q.Secret {
		f.Value = ""
		if value != "" {
			f.Placeholder, f.Required, f.Given = "entered; leave it empty to keep it", false, true
		}
	}
	return f
}

func kindOf(kind string) (sourceKind, bool) {
	all := sourceKinds()
	i := slices.IndexFunc(all, func(k sourceKind) bool { return k.Kind == kind })
	if i < 0 {
		return sourceKind{}, false
	}
	return all[i], true
}

func fieldsOf(kind string) []question {
	k, _ := kindOf(kind)
	return k.Fields
}

// answersOf takes the answers to the fields of a kind from a form. A secret that
// is left empty stays what it was, since it is never shown for anybody to send it back.
func answersOf(kind string, form url.Values, before map[string]string) (map[string]string, map[string]string) {
	values, problems := map[string]string{}, map[string]string{}
	for _, f := range fieldsOf(kind) {
		v := strings.TrimSpace(strings.ReplaceAll(form.Get(f.Name), "\r\n", "\n"))
		if v == "" && f.Secret && form.Get("forget-"+f.Name) == "" {
			v = before[f.Name]
		}
		switch {
		case len(v) > draftValues:
			problems[f.Name], v = "is longer than 64 KiB", ""
		case v == "" && f.Required:
			problems[f.Name] = "is needed"
		case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }):
			problems[f.Name], v = "holds a character that cannot be seen; type it, or copy it again", ""
		case strings.Contains(v, "\n") && f.Type != "area" && f.Type != "lines":
			problems[f.Name], v = "is more than one line", ""
		}
		if v != "" {
			values[f.Name] = v
		}
	}
	switch {
	case kind == "files" && values["dir"] == "" && values["paths"] == "":
		problems["dir"] = "is needed, or an address below"
	case kind == "postgres" && values["port"] != "" && !portRegexp.MatchString(values["port"]):
		problems["port"] = "is not a number from 1 to 65535"
	}
	return values, problems
}

var (
	portRegexp     = regexp.MustCompile(`^([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$`)
	instanceRegexp = regexp.MustCompile(`^[a-z][a-z0-9-]{0,38}$`)
)

// connectorDraft is the connector of a draft. trial says that it is for looking at
// what is there: then addresses of files are tables, which are chosen only later.
func connectorDraft(d draft, trial bool) (server.ConnectorDraft, error) {
	out := server.ConnectorDraft{Name: d.Name, Secrets: map[string]string{}}
	secret := func(fieldName, suffix string) string {
		v := d.Values[fieldName]
		if v == "" {
			return ""
		}
		name := secretName(d.Kind, d.Name, suffix)
		out.Secrets[name] = v
		return "${secret:" + name + "}"
	}
	c := desired.Connector{Schedule: d.Schedule}
	v := d.Values
	switch d.Kind {
	case "keboola":
		c.Keboola = &desired.KeboolaConnector{URL: strings.TrimRight(v["url"], "/"), Token: secret("token", "STORAGE_TOKEN")}
	case "bigquery":
		c.BigQuery = &desired.BigQueryConnector{Project: v["project"], Location: v["location"], Key: secret("key", "KEY")}
	case "jira":
		c.Jira = &desired.JiraConnector{URL: strings.TrimRight(v["url"], "/"), Email: v["email"], JQL: v["jql"]}
		if token := secret("token", "TOKEN"); v["email"] != "" {
			c.Jira.Token = token
		} else {
			c.Jira.PAT = token
		}
	case "postgres":
		c.Postgres = &desired.PostgresConnector{URL: postgresURL(v, secret("password", "PASSWORD"))}
	case "files":
		c.Files = filesConnector(v, secret)
		if trial {
			c.Tables = addressTables(v["paths"])
		}
	default:
		return out, fmt.Errorf("set up a source: there is no kind %q", d.Kind)
	}
	fields, err := json.Marshal(c)
	if err != nil {
		return out, fmt.Errorf("write connector: %w", err)
	}
	out.Fields = fields
	return out, nil
}

func filesConnector(v map[string]string, secret func(field, suffix string) string) *desired.FilesConnector {
	f := &desired.FilesConnector{Dir: v["dir"]}
	if v["authorization"] != "" {
		f.Headers = map[string]string{"Authorization": secret("authorization", "AUTHORIZATION")}
	}
	if v["region"] != "" || v["access_key"] != "" || v["secret_key"] != "" {
		f.S3 = &desired.S3Connector{Region: v["region"], AccessKey: v["access_key"], SecretKey: secret("secret_key", "S3_SECRET")}
	}
	if v["gs_key"] != "" {
		f.GS = &desired.GSConnector{Key: secret("gs_key", "GS_KEY")}
	}
	return f
}

// addressTables are one table for each address, so that the source looks there.
func addressTables(lines string) (out []desired.Table) {
	taken := map[string]bool{}
	for line := range strings.FieldsSeq(lines) {
		base := path.Base(line)
		if u, err := url.Parse(line); err == nil {
			base = path.Base(u.Path)
		}
		base, _, _ = strings.Cut(base, ".")
		out = append(out, desired.Table{Name: connectors.Propose(taken, base, base), Paths: []string{line}})
	}
	return out
}

// postgresURL is written by hand: the password is a reference, which the loader
// fills in and escapes, and url.URL would escape the reference.
func postgresURL(v map[string]string, password string) string {
	user := url.User(v["user"]).String()
	if password != "" {
		user += ":" + password
	}
	host := net.JoinHostPort(strings.Trim(v["host"], "[]"), cmp.Or(v["port"], "5432"))
	address := "postgres://" + user + "@" + host + "/" + url.PathEscape(v["database"])
	if v["sslmode"] != "" {
		address += "?sslmode=" + url.QueryEscape(v["sslmode"])
	}
	return address
}

// secretName is the name that a secret of a connector gets: KEBOOLA_STORAGE_TOKEN,
// or SHOP_PASSWORD of a connector that is called shop.
func secretName(kind, connector, suffix string) string {
	if connector == "" {
		connector = kind
	}
	return strings.ToUpper(connector) + "_" + suffix
}
