package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/edit"
	"github.com/fairlead/fairlead/reconciler"
)

// ConnectorDraft is a connector that is in no commit yet.
type ConnectorDraft struct {
	Name string `json:"name"`
	// Fields are those of a connector's file, as JSON in the order in which the
	// file is to have them: {"keboola": {"url": "…", "token": "${secret:NAME}"}}.
	// What is secret and stands in the clear becomes a secret by itself.
	Fields json.RawMessage `json:"fields"`
	// Secrets are values that Fields refer to, by name. They are committed
	// encrypted, and shown nowhere.
	Secrets map[string]string `json:"secrets,omitempty"`

	fields edit.Map // instead of Fields
}

// changeTries bounds how often a change is made anew because somebody else
// committed meanwhile.
const changeTries = 3

// retried makes a change anew while others change the same files meanwhile.
func retried[T any](change func() (T, error)) (answer T, err error) {
	for range changeTries {
		if answer, err = change(); !isConflict(err) {
			return answer, err
		}
	}
	return answer, err
}

// CommitConnector commits a connector with the tables that were chosen of what
// TryConnector found, its secrets encrypted, and the instance where there is none
// of this name yet. Of a connector that is there what the draft does not say
// stays, comments included.
func (a *API) CommitConnector(ctx context.Context, instance string, c ConnectorDraft, tables []connectors.Discovered) (ChangeAnswer, error) {
	return retried(func() (ChangeAnswer, error) {
		p, err := a.placeOf(ctx, instance, c.Name)
		if err != nil {
			return ChangeAnswer{}, err
		}
		w, err := a.write(p, c, tables)
		if err != nil {
			return ChangeAnswer{}, err
		}
		return a.commitWritten(ctx, w)
	})
}

// planned is the commit of the file of a connector, its secrets, and an
// instance.yaml where there is no instance.
func (a *API) planned(w written) (Change, error) {
	files := map[string][]byte{w.file(): w.text}
	subject := "Change the connector " + w.connector + " of " + w.instance
	if was, err := w.read(w.file()); err == nil && was == nil {
		subject = "Add the connector " + w.connector + " to " + w.instance
	}
	if !w.found {
		files[path.Join(w.dir, "instance.yaml")] = newInstance(w.instance)
		subject += ", a new instance"
	}
	if len(w.secrets) > 0 {
		sealed, err := a.sealed(w.place, w.secrets)
		if err != nil {
			return Change{}, err
		}
		maps.Copy(files, sealed)
	}
	message := fmt.Sprintf("%s\n\nThe source is %s; %s.\n", subject, w.spec.Kind(), reconciler.Count(len(w.spec.Tables), "table"))
	return Change{Files: files, Message: message, Base: w.snapshot.Commit}, nil
}

func (a *API) commitWritten(ctx context.Context, w written) (ChangeAnswer, error) {
	c, err := a.planned(w)
	if err != nil {
		return ChangeAnswer{}, err
	}
	done, err := a.commit(ctx, c)
	return changed(done, w.instance, w.connector), err
}

func (a *API) sealed(p place, values map[string]string) (map[string][]byte, error) {
	if a.cfg.Secrets == nil {
		return nil, &Error{Status: http.StatusConflict, Detail: "encrypt secrets: this process keeps no keys", Hint: "ask the daemon"}
	}
	given := map[string]*string{}
	for name, value := range values {
		given[name] = &value
	}
	files, err := a.cfg.Secrets.Change(p.snapshot.Tree, p.dir, given)
	if err != nil {
		return nil, secretError(err)
	}
	return files, nil
}

// newInstance is an instance that only brings data.
func newInstance(name string) []byte {
	text, _ := edit.Render(name) // true is one, in quotes; a name has nothing that cannot be written
	return fmt.Appendf(nil, `# The desired state of one instance. docs/configuration.md has every key.
apiVersion: fairlead/v1
name: %s
# No containers are wanted yet: put a compose.yaml beside this file, and remove the next line.
allowEmpty: true
`, text)
}

// ConfigureRequest says where data comes from: by the short fields of a source,
// or by connector with the fields of a connector's file.
type ConfigureRequest struct {
	DataSource       string `json:"data_source,omitempty" maxLength:"64" doc:"keboola, bigquery, postgres, jira, files, or local for none (with files_dir it is files)" example:"keboola"`
	KeboolaToken     string `json:"keboola_token,omitempty" maxLength:"4096" doc:"a Storage API token; left out: the one that is known"`
	KeboolaURL       string `json:"keboola_url,omitempty" maxLength:"2048" example:"https://connection.keboola.com"`
	BigQueryProject  string `json:"bigquery_project,omitempty" maxLength:"128" example:"acme-data"`
	BigQueryLocation string `json:"bigquery_location,omitempty" maxLength:"64" example:"europe-west3"`
	BigQueryKey      string `json:"bigquery_key,omitempty" maxLength:"16384" doc:"the JSON key of a service account; left out: the machine's account"`
	PostgresURL      string `json:"postgres_url,omitempty" maxLength:"4096" example:"postgres://reader:PASSWORD@db.acme.com:5432/shop"`
	JiraURL          string `json:"jira_url,omitempty" maxLength:"2048" example:"https://acme.atlassian.net"`
	JiraEmail        string `json:"jira_email,omitempty" maxLength:"254"`
	JiraToken        string `json:"jira_token,omitempty" maxLength:"4096"`
	JiraPAT          string `json:"jira_pat,omitempty" maxLength:"4096"`
	FilesDir         string `json:"files_dir,omitempty" maxLength:"4096" doc:"a directory of the host, which the host has to permit" example:"/srv/data"`

	InstanceName  string `json:"instance_name,omitempty" maxLength:"128" doc:"names the instance where instance does not" example:"Acme"`
	AllowedDomain string `json:"allowed_domain,omitempty" maxLength:"253" doc:"taken for compatibility, and without effect: people are invited one by one"`
	Confirm       bool   `json:"confirm_connection_change,omitempty" doc:"change where a connector with tables gets them from"`

	Instance  string            `json:"instance,omitempty" maxLength:"39" doc:"left out: the only one, or a new one" example:"acme"`
	Connector json.RawMessage   `json:"connector,omitempty" doc:"{\"name\": …, and the fields of a connector's file}, instead of the short fields"`
	Secrets   map[string]string `json:"secrets,omitempty" doc:"values by name; they are committed encrypted"`
}

// Configured is the answer to a ConfigureRequest.
type Configured struct {
	Status     string `json:"status" enum:"ok"`
	DataSource string `json:"data_source" example:"keboola"`
	// Connection is verified when the service answered to these credentials.
	Connection string   `json:"connection" enum:"verified,local"`
	Tables     int      `json:"tables_found" doc:"that the service has, as far as was looked"`
	Warnings   []string `json:"warnings,omitempty"`
	ChangeAnswer
}

// Configure tests a connection and commits it.
func (a *API) Configure(ctx context.Context, req ConfigureRequest) (Configured, error) {
	if req.DataSource == "local" && req.FilesDir != "" {
		req.DataSource = "files" // a folder that is named is never passed over
	}
	out := Configured{Status: "ok", DataSource: req.DataSource, Connection: "local"}
	if req.AllowedDomain != "" {
		out.Warnings = append(out.Warnings, "allowed_domain has no effect: add people with POST /api/users or fairlead user add")
	}
	instance, err := a.configured(req)
	if err != nil {
		return out, err
	}
	if req.DataSource == "local" && len(req.Connector) == 0 {
		out.ChangeAnswer, err = a.ensureInstance(ctx, instance)
		return out, err
	}
	c, err := req.draft()
	if err != nil {
		return out, err
	}
	out.Connection = "verified"
	beside := ""
	out.ChangeAnswer, err = retried(func() (ChangeAnswer, error) {
		p, err := a.placeOf(ctx, instance, c.Name)
		if err != nil {
			return ChangeAnswer{}, err
		}
		beside = a.newBeside(p)
		w, err := a.write(p, c, nil)
		if err == nil {
			err = a.affects(w, req.Confirm)
		}
		if err != nil {
			return ChangeAnswer{}, err
		}
		found, err := a.tested(ctx, w)
		if err != nil {
			return ChangeAnswer{}, err
		}
		out.DataSource, out.Tables = w.spec.Kind(), len(found.Tables)
		return a.commitWritten(ctx, w)
	})
	if err == nil && beside != "" {
		out.Warnings = append(out.Warnings, beside)
	}
	return out, err
}

// newBeside says that a change makes an instance where there are others: a slip
// in a name looks the same.
func (a *API) newBeside(p place) string {
	var others []string
	for _, s := range a.Statuses() {
		if s.Name != p.instance {
			others = append(others, s.Name)
		}
	}
	if p.found || len(others) == 0 {
		return ""
	}
	return fmt.Sprintf("%s is a new instance beside %s: if one of those was meant, take the commit back with git revert", p.instance, strings.Join(others, ", "))
}

// tested is a try whose success proves something: of a program nobody can be
// asked.
func (a *API) tested(ctx context.Context, w written) (Discovery, error) {
	if w.spec.Program != nil {
		return Discovery{}, &Error{Status: http.StatusUnprocessableEntity, Detail: "test connector " + w.connector + ": it is a program, which nobody can ask",
			Hint: "commit it with PUT /api/instances/" + w.instance + "/connectors/" + w.connector + "/file, or in git"}
	}
	return a.try(ctx, w, maxLimit)
}

// configured is the instance that is meant; a new one has a name made of what
// the request says.
func (a *API) configured(req ConfigureRequest) (string, error) {
	if req.Instance != "" {
		return req.Instance, nil
	}
	if len(a.cfg.Fleet.Instances()) > 0 {
		return a.chosen("")
	}
	if name := instanceName(req.InstanceName); name != "" {
		return name, nil
	}
	return "main", nil
}

var notInInstance = regexp.MustCompile(`[^a-z0-9]+`)

func instanceName(s string) string {
	name := strings.Trim(notInInstance.ReplaceAllString(strings.ToLower(s), "-"), "-")
	name = strings.TrimLeft(name, "0123456789-")
	return strings.TrimRight(name[:min(len(name), 39)], "-")
}

// draft is the connector that is asked for.
func (req ConfigureRequest) draft() (ConnectorDraft, error) {
	if len(req.Connector) > 0 {
		return namedDraft(req.Connector, req.Secrets)
	}
	section, err := req.section()
	if err != nil {
		return ConnectorDraft{}, err
	}
	fields, err := json.Marshal(map[string]any{req.DataSource: section})
	return ConnectorDraft{Name: req.DataSource, Fields: fields, Secrets: req.Secrets}, err
}

// namedDraft takes the name out of the fields of a connector.
func namedDraft(body json.RawMessage, values map[string]string) (ConnectorDraft, error) {
	v, err := edit.FromJSON(body)
	all, is := v.(edit.Map)
	if err != nil || !is {
		return ConnectorDraft{}, invalid(withHint(errors.Join(errors.New("read connector: it is no object"), err), `send {"name": "shop", "postgres": {"url": "…"}}`))
	}
	c := ConnectorDraft{Secrets: values}
	i := slices.IndexFunc(all, func(p edit.Pair) bool { return p.Key == "name" })
	if i >= 0 {
		c.Name, _ = all[i].Value.(string)
		all = slices.Delete(all, i, i+1)
	}
	c.fields = all
	return c, nil
}

// badRequest is what a call answers that lacks something.
func badRequest(detail, hint string) error {
	return &Error{Status: http.StatusBadRequest, Detail: detail, Hint: hint}
}

// section is what the file of a connector says of its source.
func (req ConfigureRequest) section() (any, error) {
	again := "Send it along: POST /api/admin/configure with "
	switch req.DataSource {
	case "keboola":
		if req.KeboolaURL == "" {
			return nil, badRequest("Missing keboola_url.", again+`keboola_url, for example "https://connection.keboola.com".`)
		}
		token := req.KeboolaToken
		if token == "" {
			token = "${secret:" + keboolaSecret + "}"
		}
		return desired.KeboolaConnector{URL: req.KeboolaURL, Token: token}, nil
	case "bigquery":
		if req.BigQueryProject == "" {
			return nil, badRequest("Missing bigquery_project.", again+"bigquery_project, the project that pays for what is asked.")
		}
		return desired.BigQueryConnector{Project: req.BigQueryProject, Location: req.BigQueryLocation, Key: req.BigQueryKey}, nil
	case "postgres":
		if req.PostgresURL == "" {
			return nil, badRequest("Missing postgres_url.", again+"postgres_url: postgres://USER:PASSWORD@HOST:5432/DATABASE.")
		}
		return desired.PostgresConnector{URL: req.PostgresURL}, nil
	case "jira":
		if req.JiraURL == "" || req.JiraPAT == "" && (req.JiraEmail == "" || req.JiraToken == "") {
			return nil, badRequest("Missing jira_url, or credentials.", again+"jira_url and jira_email and jira_token (Cloud), or jira_url and jira_pat (Data Center).")
		}
		return desired.JiraConnector{URL: req.JiraURL, Email: req.JiraEmail, Token: req.JiraToken, PAT: req.JiraPAT}, nil
	case "files":
		if req.FilesDir == "" {
			return nil, badRequest("Missing files_dir.", again+"files_dir, a directory that connectors.dirs of agent.yaml permits; for files elsewhere use connector.")
		}
		return desired.FilesConnector{Dir: req.FilesDir}, nil
	case "":
		return nil, badRequest("Missing data_source.", again+"data_source: keboola, bigquery, postgres, jira, files or local; or with connector.")
	}
	return nil, badRequest(fmt.Sprintf("data_source %q is not known.", req.DataSource), "It is one of keboola, bigquery, postgres, jira, files and local.")
}

// affects refuses to change where a connector gets the tables from that it has.
func (a *API) affects(w written, confirmed bool) error {
	if confirmed {
		return nil
	}
	was, err := w.read(w.file())
	if err != nil || was == nil {
		return err
	}
	before, err := desired.ParseConnector(w.file(), was)
	if err != nil || len(before.Tables) == 0 {
		return nil // nothing of it can be lost
	}
	now, err := desired.ParseConnector(w.file(), w.text)
	if err != nil || origin(before) == origin(now) {
		return err
	}
	return &Error{Status: http.StatusConflict, Code: "connection_change_affects_registrations",
		Detail: fmt.Sprintf("configure %s: it has %s from %s, which would come from %s", w.connector, reconciler.Count(len(before.Tables), "table"), origin(before), origin(now)),
		Hint:   "send confirm_connection_change: true if the tables are there, too; or give the other connection a connector of its own name"}
}

// origin is where a connector gets tables from, without who asks.
func origin(c desired.Connector) string {
	switch {
	case c.Keboola != nil:
		return "keboola " + strings.TrimRight(c.Keboola.URL, "/")
	case c.BigQuery != nil:
		return "bigquery " + c.BigQuery.Project
	case c.Jira != nil:
		return "jira " + strings.TrimRight(c.Jira.URL, "/")
	case c.Postgres != nil:
		_, host, _ := strings.Cut(c.Postgres.URL, "://")
		return "postgres " + host[strings.LastIndex(host, "@")+1:]
	case c.Files != nil:
		return "files " + c.Files.Dir
	}
	return "image " + c.Image
}
