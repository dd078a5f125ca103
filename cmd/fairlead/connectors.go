package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
	"github.com/fairlead/fairlead/connectors/bigquery"
	"github.com/fairlead/fairlead/connectors/files"
	"github.com/fairlead/fairlead/connectors/jira"
	"github.com/fairlead/fairlead/connectors/keboola"
	"github.com/fairlead/fairlead/connectors/postgres"
	"github.com/fairlead/fairlead/connectors/program"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// dataParts are the connectors of a host and what they have gathered.
type dataParts struct {
	*connectors.Manager
	analytics *analytics.Analytics
	tokens    *tokens
	fleet     server.Fleet // set once, before anything is asked
	alone     bool         // no loop runs, which else has the data attached
	log       *logrus.Entry

	mu    sync.Mutex
	shown map[string]bool // instances whose own tables are offered
}

var (
	_ server.Connectors = (*dataParts)(nil)
	_ server.Data       = (*dataParts)(nil)
)

// withoutInstance is what statements are asked of as long as there is no instance.
// None can have this name.
const withoutInstance = "_none"

// keepConnectors puts the connectors together over an open data directory,
// which has to be this process's.
func keepConnectors(s settings, d *dataDir, store *reconciler.Store, events *reconciler.Events, jobs program.Engine, log *logrus.Entry) *dataParts {
	log = log.WithField("part", "connectors")
	instances := filepath.Join(d.path, "instances")
	report := func(instance, reason, message, correlation string) {
		if err := events.ReportFor(correlation, instance, reason, message); err != nil {
			log.WithError(err).Warn("Keep event")
		}
	}
	host, err := os.Hostname()
	if err != nil {
		host = d.path // the same at every start, which is what counts
	}
	values := &tokens{want: map[string]map[string]desired.ConnectorSpec{}}
	data := analytics.New(analytics.Options{
		Dir: func(instance string) string {
			if instance == withoutInstance {
				return filepath.Join(d.path, "state", "query")
			}
			return filepath.Join(instances, instance)
		},
		Workers: s.Connect.Workers, Memory: s.Connect.Memory, Extensions: filepath.Join(d.path, "extensions"),
		Remote: wire.RemotePolicy{Extensions: s.Connect.Extensions, Hosts: s.Connect.RemoteHosts, Tokens: s.Connect.RemoteTokens},
		Token:  values.find, Log: log,
		Event: func(e analytics.Event) {
			text := e.Message
			if e.Source != "" {
				text = e.Source + ": " + text
			}
			if e.Hint != "" {
				text += "; " + e.Hint
			}
			report(e.Instance, e.Reason, text, "")
		},
	})
	programs := program.New(program.Options{Engine: jobs, AllowHost: s.Connect.HostProcesses, Owner: d.path, Instances: instances, Log: log})
	runs := connectors.New(connectors.Options{Dir: instances, Memory: store.Notebook("connectors"), Publisher: data, Sources: sources(s),
		Program: programs, Event: report, AtOnce: s.Connect.AtOnce, Seed: host, Log: log})
	return &dataParts{Manager: runs, analytics: data, tokens: values, shown: map[string]bool{}, log: log}
}

// sources makes the sources that are built in.
func sources(s settings) func(context.Context, desired.ConnectorSpec) (connectors.Source, error) {
	return func(_ context.Context, spec desired.ConnectorSpec) (connectors.Source, error) {
		reach, err := s.Fetch.reach()
		if err != nil {
			return nil, err
		}
		switch {
		case spec.Files != nil:
			return files.New(filesSettings(s, spec, reach))
		case spec.Keboola != nil:
			return keboola.New(keboola.Settings{URL: spec.Keboola.URL, Token: spec.Keboola.Token, Reach: reach})
		case spec.Jira != nil:
			j := spec.Jira
			return jira.New(jira.Settings{URL: j.URL, Email: j.Email, Token: j.Token, PAT: j.PAT, JQL: j.JQL, Reach: reach})
		case spec.Postgres != nil:
			p := spec.Postgres
			return postgres.New(postgres.Settings{URL: p.URL, CA: p.CA, TokenEnv: p.TokenEnv, Reach: reach})
		case spec.BigQuery != nil:
			b := spec.BigQuery
			return bigquery.New(bigquery.Settings{Project: b.Project, Location: b.Location, Key: b.Key, Endpoint: b.Endpoint,
				MaxBytesBilled: b.MaxBytesBilled, Reach: reach})
		}
		return nil, errors.New("make source: the connector names none")
	}
}

func filesSettings(s settings, spec desired.ConnectorSpec, reach connectors.Reach) files.Settings {
	out := files.Settings{FilesSource: *spec.Files, AllowDir: s.Connect.allowDir, AllowHost: reach.Allow, Proxy: reach.Proxy, Roots: reach.Roots, Env: os.LookupEnv}
	for _, t := range spec.Tables {
		out.Paths = append(out.Paths, t.Paths...)
	}
	return out
}

// Set says which connectors an instance wants.
func (p *dataParts) Set(instance string, want reconciler.WantedConnectors) {
	if len(want.ByName) > 0 || want.Commit != "" { // else nothing is known yet, and what was stays
		p.tokens.set(instance, want.ByName)
	}
	p.Manager.Set(instance, want)
	if !p.alone {
		return
	}
	keep := map[string]string{}
	for name, spec := range want.ByName {
		keep[name] = spec.Identity
	}
	p.analytics.Keep(instance, keep)
}

// Attachments implements reconciler.Attachments. Where no loop runs nobody read
// what is remembered of runs, and it is said so.
func (p *dataParts) Attachments(instance string) []reconciler.AttachmentStatus {
	list := p.Manager.Attachments(instance)
	for i := range list {
		if a := &list[i]; p.alone {
			a.Phase, a.Reason = reconciler.AttachmentPending, "NotObserved"
			a.Message, a.Hint = "no daemon runs, so nothing is known of its runs", "start the daemon (fairlead run); fairlead tables and fairlead query do without it"
		}
	}
	return list
}

// tokens are the values that attached databases may be given: passwords of
// connectors, under the names that these give them.
type tokens struct {
	mu   sync.Mutex
	want map[string]map[string]desired.ConnectorSpec
}

func (t *tokens) set(instance string, want map[string]desired.ConnectorSpec) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.want[instance] = want
}

// spec is a connector as it is wanted.
func (t *tokens) spec(instance, name string) (desired.ConnectorSpec, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, wanted := t.want[instance][name]
	return s, wanted
}

// find is the value of a variable. Where connectors of an instance give it
// different ones, nobody gets either: it could be the other one's password.
func (t *tokens) find(instance, name string) (value string, found bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.want[instance] {
		one, has := tokenOf(c, name)
		if has && found && one != value {
			return "", false
		}
		if has {
			value, found = one, true
		}
	}
	return value, found
}

func tokenOf(c desired.ConnectorSpec, name string) (string, bool) {
	switch {
	case c.Postgres != nil && c.Postgres.TokenEnv == name:
		u, err := url.Parse(c.Postgres.URL)
		if err != nil {
			return "", false
		}
		return u.User.Password()
	case c.Program != nil && c.Program.Env[name] != "":
		return c.Program.Env[name], true
	}
	return "", false
}

// Run keeps the connectors running and the workers ready until ctx ends. The
// workers end last: a run that is ended may still be publishing.
func (p *dataParts) Run(ctx context.Context) error {
	defer p.analytics.Close()
	for _, e := range p.analytics.Extensions() {
		if e.Path == "" {
			p.log.WithField("extension", e.Name).Warn("An extension of connectors.remote.extensions is not here: databases that need it cannot be attached; docs/operations.md says where its file goes")
		}
	}
	done := make(chan error, 1)
	go func() { done <- p.analytics.Run(context.WithoutCancel(ctx)) }()
	err := p.Manager.Run(ctx)
	p.analytics.Close()
	return errors.Join(err, <-done)
}

// Discover implements server.Connectors.
func (p *dataParts) Discover(ctx context.Context, instance, name string, limit int) (server.Discovery, error) {
	found, more, err := p.Manager.Discover(ctx, instance, name, nil, limit)
	return server.Discovery{Tables: found, More: more}, err
}

// Webhook implements server.Connectors. A connector without a secret takes none,
// and whether there is such a connector is not told.
func (p *dataParts) Webhook(ctx context.Context, instance, name, signature string, body []byte) error {
	refused := &server.Error{Status: http.StatusUnauthorized, Detail: "take webhook: the signature is missing or wrong, or nothing is expected here",
		Hint: "set webhookSecret of the connector to the secret of the webhook at Jira"}
	spec, wanted := p.tokens.spec(instance, name)
	if !wanted || spec.Jira == nil || spec.Jira.WebhookSecret == "" {
		return refused
	}
	event, err := jira.Webhook([]byte(spec.Jira.WebhookSecret), signature, body)
	switch {
	case errors.Is(err, jira.ErrSignature):
		return refused
	case err != nil:
		return &server.Error{Status: http.StatusBadRequest, Detail: err.Error()}
	case len(event.Issues) == 0:
		return nil // about nothing that is read
	}
	return p.Nudge(ctx, instance, name)
}

// Generations implements server.Connectors.
func (p *dataParts) Generations(instance, name string) (out []server.DataGeneration, err error) {
	list, err := p.analytics.Generations(instance, name)
	for _, g := range list {
		out = append(out, server.DataGeneration{Generation: g.Number, Commit: g.Commit, At: g.At, Tables: g.Tables, Rows: g.Rows, Bytes: g.Bytes,
			Current: g.Current, Problem: g.Damaged})
	}
	return out, err
}

// Rollback implements server.Connectors.
func (p *dataParts) Rollback(_ context.Context, instance, name string, generation int) error {
	return p.analytics.Rollback(instance, name, generation)
}

// Purge implements server.Connectors. The records go last: they are what names
// the connector.
func (p *dataParts) Purge(ctx context.Context, instance, name string) error {
	if err := p.analytics.Purge(ctx, instance, name); err != nil {
		return err
	}
	return p.Manager.Purge(instance, name)
}

// Catalog implements server.Data.
func (p *dataParts) Catalog(instance string) ([]connectors.CatalogTable, error) {
	return p.analytics.Catalog(instance)
}

// Profile implements server.Data.
func (p *dataParts) Profile(ctx context.Context, instance, user, source, table, column string) (json.RawMessage, error) {
	text, err := p.analytics.Profile(ctx, instance, user, source, table, column)
	return text, answered(err)
}

// Query implements server.Data.
func (p *dataParts) Query(ctx context.Context, instance string, q server.Query, begin func(server.QueryResult) error, w io.Writer) (server.QueryResult, error) {
	if instance == "" {
		instance = withoutInstance
	} else if err := p.offerSystemTables(instance); err != nil {
		return server.QueryResult{}, err
	}
	res, err := p.analytics.Query(ctx, instance, analytics.Query{SQL: q.SQL, User: q.User, Format: wire.Format(q.Format), Limit: q.Limit, Offset: q.Offset,
		Deadline: time.Duration(q.Timeout * float64(time.Second))}, resultWriter{w, begin})
	return resultOf(res), answered(err)
}

func resultOf(r analytics.Result) server.QueryResult {
	return server.QueryResult{Columns: r.Columns, Rows: r.Rows, Truncated: r.Truncated, Took: r.Took}
}

type resultWriter struct {
	io.Writer
	begin func(server.QueryResult) error
}

func (r resultWriter) Begin(res analytics.Result) error { return r.begin(resultOf(res)) }

// answered says how the API answers what a query came to.
func answered(err error) error {
	var said *wire.Error
	var busy analytics.ErrBusy
	switch {
	case errors.Is(err, analytics.ErrClosed):
		return &server.Error{Status: http.StatusServiceUnavailable, Detail: err.Error(), Hint: "the daemon is ending; try again when it runs"}
	case errors.As(err, &busy):
		return &server.Error{Status: http.StatusServiceUnavailable, Detail: busy.Error(), Hint: fmt.Sprintf("try again in %s", busy.RetryAfter), RetryAfter: busy.RetryAfter}
	case errors.As(err, &said):
		status := map[string]int{wire.CodeRefused: http.StatusForbidden, wire.CodeDeadline: http.StatusGatewayTimeout, wire.CodeFatal: http.StatusInternalServerError,
			wire.CodeMemory: http.StatusUnprocessableEntity, wire.CodeTooLarge: http.StatusUnprocessableEntity}[said.Code]
		if status == 0 {
			status = http.StatusBadRequest
		}
		hint := said.Hint
		if hint == "" && status == http.StatusBadRequest {
			hint = "mend the statement: it is SQL as DuckDB has it; SHOW TABLES lists what can be read"
		}
		return &server.Error{Status: status, Detail: said.Message, Hint: hint}
	}
	return err
}

// unconfined are the children that the kernel does not confine altogether.
func (p *dataParts) unconfined() (list []string) {
	for mode, why := range p.analytics.Unconfined() {
		list = append(list, "data: the kernel does not confine fairlead child "+mode+" altogether: "+why)
	}
	slices.Sort(list)
	return list
}
