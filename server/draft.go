package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/edit"
	"github.com/fairlead/fairlead/reconciler"
)

// Drafts answers questions about what is in no commit yet.
type Drafts interface {
	// Find lists the instances of a tree that this host has.
	Find(tree fs.FS) ([]reconciler.Found, error)
	// Connector reads the file of one connector by itself. values are those of
	// secrets, stronger than what the instance has.
	Connector(tree fs.FS, instance, dir, name string, file []byte, values map[string]string) (desired.ConnectorSpec, error)
	// Probe asks a service what it has. What is wrong says nothing secret.
	Probe(ctx context.Context, spec desired.ConnectorSpec, limit int) (Discovery, error)
}

const (
	tryLimit  = 45 * time.Second // of a live test of credentials
	maxChosen = 2000             // tables that are asked for, and that a connector may have
	newRoot   = "instances"      // where a new instance goes
)

// place is where a connector is, or is to be.
type place struct {
	snapshot  desired.Snapshot
	instance  string
	dir       string
	found     bool // the instance is there
	connector string
}

func (p place) file() string { return path.Join(p.dir, "connectors", p.connector+".yaml") }

// read returns a file of the snapshot; nil: there is none.
func (p place) read(file string) ([]byte, error) {
	data, err := fs.ReadFile(p.snapshot.Tree, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && len(data) > edit.MaxFile {
		err = fmt.Errorf("it is larger than %d KiB", edit.MaxFile>>10)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return data, nil
}

// placeOf finds an instance in the newest revision, which is looked for first.
func (a *API) placeOf(ctx context.Context, instance, connector string) (place, error) {
	if a.cfg.Drafts == nil {
		return place{}, &Error{Status: http.StatusConflict, Detail: "configure: no daemon runs that could", Hint: "start the daemon: fairlead run"}
	}
	snapshot, err := a.cfg.Source.Latest(ctx)
	if err != nil && a.cfg.Source.Sync(ctx) == nil { // nobody has looked yet
		snapshot, err = a.cfg.Source.Latest(ctx)
	}
	if err != nil {
		return place{}, withHint(&Error{Status: http.StatusServiceUnavailable, Detail: "read desired state: " + err.Error(), cause: err},
			"fairlead status says what is wrong with the repository")
	}
	p := place{snapshot: snapshot, instance: instance, connector: connector, dir: path.Join(newRoot, instance)}
	found, err := a.cfg.Drafts.Find(snapshot.Tree)
	var problems desired.Problems
	if err != nil && !errors.As(err, &problems) {
		return place{}, fmt.Errorf("read desired state: %w", err)
	}
	for _, f := range found {
		if f.Name == instance {
			p.dir, p.found = f.Dir, true
		}
	}
	return p, nil
}

// existing is placeOf for an instance that has to be there.
func (a *API) existing(ctx context.Context, instance, connector string) (place, error) {
	p, err := a.placeOf(ctx, instance, connector)
	if err != nil || p.found {
		return p, err
	}
	_, err = a.find(instance)
	if err == nil { // it is in an older revision only
		err = &Error{Status: http.StatusNotFound, Detail: "find instance " + instance + ": the newest revision has none of this name"}
	}
	return p, err
}

var newName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,38}$`)

// check refuses names that are none before they are part of a path, or of a file.
func (p place) check() error {
	if !p.found && !newName.MatchString(p.instance) {
		return &Error{Status: http.StatusUnprocessableEntity, Detail: fmt.Sprintf("%q is not the name of an instance", p.instance),
			Hint: "a lower-case letter, then up to 38 lower-case letters, digits and dashes"}
	}
	if p.connector != "" && !connectorName.MatchString(p.connector) {
		return notConnector(p.connector)
	}
	return nil
}

// chosen is the instance that a call is about: the one that is named, or the only
// one.
func (a *API) chosen(name string) (string, error) {
	if name != "" {
		return name, nil
	}
	var names []string
	for _, r := range a.cfg.Fleet.Instances() {
		names = append(names, r.Name())
	}
	switch len(names) {
	case 1:
		return names[0], nil
	case 0:
		return "", &Error{Status: http.StatusConflict, Detail: "there is no instance yet", Hint: "POST /api/admin/configure makes one, and so does POST /api/instances {\"name\": \"main\"}"}
	}
	return "", &Error{Status: http.StatusBadRequest, Detail: fmt.Sprintf("there are %d instances", len(names)), Hint: "name one: instance=" + strings.Join(names, " or ")}
}

// written is a draft as files of a commit.
type written struct {
	place
	text    []byte // of the connector's file
	secrets map[string]string
	spec    desired.ConnectorSpec
}

// write makes a file of a draft: a new one, or the one that is there with what
// the draft says put in, so that comments and order stay.
func (a *API) write(p place, c ConnectorDraft, tables []connectors.Discovered) (written, error) {
	w := written{place: p}
	if err := p.check(); err != nil {
		return w, err
	}
	fields, err := c.content()
	if err != nil {
		return w, err
	}
	if fields, w.secrets, err = sealed(c.Name, fields, c.Secrets); err != nil {
		return w, err
	}
	was, err := p.read(p.file())
	if err == nil {
		w.text, err = merged(was, fields)
	}
	if err == nil {
		w.text, err = withTables(w.text, tables)
	}
	if err != nil {
		return w, invalid(err)
	}
	if field := inTheClear(p.file(), w.text); field != "" && field != inTheClear(p.file(), was) { // or it was read by everybody before
		return w, clearError(p.instance, p.file(), field)
	}
	if name := leaks(w.text, w.secrets); name != "" {
		return w, &Error{Status: http.StatusUnprocessableEntity, Detail: "write connector " + c.Name + ": the value of the secret " + name + " would stand in the file in the clear",
			Hint: "write ${secret:" + name + "} where it belongs"}
	}
	w.spec, err = a.cfg.Drafts.Connector(p.snapshot.Tree, p.instance, p.dir, p.connector, w.text, w.secrets)
	return w, missingSecret(err)
}

// missingSecret says of a secret without a value how it gets one.
func missingSecret(err error) error {
	var problems desired.Problems
	if !errors.As(err, &problems) {
		return err
	}
	e := *AsError(err)
	e.Hint = "mend the connector; nothing was committed"
	for _, p := range problems {
		if _, name, is := strings.Cut(p.Text, "no value for the secret "); is {
			e.Status, e.Detail = http.StatusBadRequest, "Missing "+name+"."
			e.Hint = fmt.Sprintf("Set it with `fairlead secret set INSTANCE %s`, or send it along: POST /api/admin/configure with secrets: {\"%[1]s\": \"…\"}.", name)
			if name == keboolaSecret {
				e.Hint = "Set it with `fairlead secret set INSTANCE KEBOOLA_STORAGE_TOKEN` or POST /api/admin/configure with keboola_token."
			}
		}
	}
	return &e
}

// leaks names a secret whose value is in a file. One of a few letters may be
// there by chance.
func leaks(file []byte, values map[string]string) string {
	const least = 6
	for name, value := range values {
		if len(value) >= least && strings.Contains(string(file), value) {
			return name
		}
	}
	return ""
}

// content are the fields as a file has them; tables may be none.
func (c ConnectorDraft) content() (edit.Map, error) {
	if c.Name == "" {
		return nil, invalid(withHint(errors.New("read connector: it has no name"), `add "name": "shop"`))
	}
	fields := c.fields
	if fields == nil && len(c.Fields) > 0 {
		v, err := edit.FromJSON(c.Fields)
		var is bool
		if fields, is = v.(edit.Map); err == nil && !is {
			err = errors.New("it is no object")
		}
		if err != nil {
			return nil, invalid(withHint(fmt.Errorf("read connector %s: %w", c.Name, err), "its fields are those of a connector's file; docs/connectors.md lists them"))
		}
	}
	for _, p := range fields {
		if p.Key == "tables" || p.Key == "image" {
			return fields, nil
		}
	}
	return append(fields, edit.Pair{Key: "tables", Value: []any{}}), nil
}

// merged puts fields into a file. A source that the fields do not name goes when
// they name another one.
func merged(file []byte, fields edit.Map) ([]byte, error) {
	if len(file) == 0 {
		return edit.Render(fields)
	}
	kinds := []string{"files", "keboola", "bigquery", "jira", "postgres", "image"}
	named := func(p edit.Pair) bool { return slices.Contains(kinds, p.Key) }
	if i := slices.IndexFunc(fields, named); i >= 0 {
		for _, kind := range kinds {
			next, err := edit.Delete(file, edit.Path{kind})
			if kind == fields[i].Key || errors.Is(err, edit.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			file = next
		}
	}
	for _, p := range fields {
		inner, nested := p.Value.(edit.Map)
		if list, is := p.Value.([]any); is && p.Key == "tables" && len(list) == 0 && edit.Has(file, edit.Path{"tables"}) {
			continue // those that are there stay
		}
		if !nested || len(inner) == 0 {
			inner = edit.Map{{Key: "", Value: p.Value}}
		}
		for _, q := range inner {
			at := edit.Path{p.Key}
			if q.Key != "" {
				at = append(at, q.Key)
			}
			next, err := edit.Set(file, at, q.Value)
			if err != nil {
				return nil, err
			}
			file = next
		}
	}
	return file, nil
}

// TryConnector asks the service of a connector that is in no commit yet what it
// has, by the credentials in the draft. instance need not exist.
func (a *API) TryConnector(ctx context.Context, instance string, c ConnectorDraft) (Discovery, error) {
	p, err := a.placeOf(ctx, instance, c.Name)
	if err != nil {
		return Discovery{}, err
	}
	w, err := a.write(p, c, nil)
	if err != nil {
		return Discovery{}, err
	}
	return a.try(ctx, w, maxLimit)
}

// try asks a service with the credentials of a draft.
func (a *API) try(ctx context.Context, w written, limit int) (Discovery, error) {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	found, err := a.cfg.Drafts.Probe(ctx, w.spec, limit)
	if err == nil {
		found.Tables = orEmpty(found.Tables)
		return found, nil
	}
	hint := connectors.Hint(err)
	if hint == "" {
		hint = "look at the address and the credentials; nothing was committed"
	}
	detail := err.Error()
	for _, value := range w.secrets {
		if len(value) >= 4 {
			detail = strings.ReplaceAll(detail, value, "***")
		}
	}
	return Discovery{}, &Error{Status: http.StatusBadRequest, Detail: fmt.Sprintf("%s connection failed. %s", titled(w.spec.Kind()), detail), Hint: hint, cause: nil}
}

func titled(kind string) string {
	for name, title := range map[string]string{"keboola": "Keboola", "bigquery": "BigQuery", "postgres": "PostgreSQL", "jira": "Jira", "files": "Files"} {
		if name == kind {
			return title
		}
	}
	return kind
}
