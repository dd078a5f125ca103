package pages

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/server"
)

// credentialsData is what the second step shows.
type credentialsData struct {
	wizard
	Fields   []field
	More     []field // those that most people need not
	MoreOpen bool
	Name     string
	Problems map[string]string
	Kept     bool // secrets were entered before, and need not be again
	Again    bool // they were, and have to be
}

func (s *Site) credentialsStep(v *visit, d draft) (reply, error) {
	switch {
	case d.Done != nil:
		return redirect{d.path("done")}, nil
	case d.Kind == "":
		return redirect{d.path("source")}, nil
	}
	return s.showCredentials(d, nil), nil
}

func (s *Site) showCredentials(d draft, problems map[string]string) view {
	data := credentialsData{wizard: wizardOf(d, "credentials"), Name: d.Name, Problems: problems, Again: d.Again && d.Problem == nil && len(problems) == 0}
	for _, q := range fieldsOf(d.Kind) {
		value, answered := d.Values[q.Name]
		if !answered && d.Values == nil {
			value = q.Default
		}
		data.Kept = data.Kept || q.Secret && value != ""
		f := q.control(value, problems[q.Name])
		if q.More {
			data.More = append(data.More, f)
			data.MoreOpen = data.MoreOpen || value != "" || f.Error != ""
		} else {
			data.Fields = append(data.Fields, f)
		}
	}
	w := s.wizardView(d, "addcredentials", "Credentials for "+data.Kind.Title, data, problems)
	if d.Problem != nil {
		w.Status = http.StatusUnprocessableEntity
	}
	return w
}

// tryLimit bounds the real call that tells whether credentials are taken.
const tryLimit = 45 * time.Second

// takeCredentials asks the service, by the credentials, what it has.
func (s *Site) takeCredentials(v *visit, d draft) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	if d.Done != nil {
		return redirect{d.path("done")}, nil
	}
	var problems map[string]string
	d.Values, problems = answersOf(d.Kind, form, d.Values)
	if name := strings.TrimSpace(form.Get("name")); name != "" {
		d.Name = name
	}
	if !connectors.ValidName(d.Name) {
		problems["name"] = "A name begins with a letter, and holds letters, digits and underscores: up to 64 of them."
	}
	d.Tried, d.Problem, d.Settled = false, nil, false
	s.drafts.put(d)
	if len(problems) > 0 {
		return s.showCredentials(d, problems), nil
	}
	if err := s.try(v.Context(), &d); err != nil {
		d.Problem = err
		s.drafts.put(d)
		return redirect{d.path("credentials") + "#problem"}, nil
	}
	s.drafts.put(d)
	return redirect{d.path("tables")}, nil
}

// try fills in what a service has.
func (s *Site) try(ctx context.Context, d *draft) *server.Error {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	trial, err := connectorDraft(*d, true)
	if err != nil {
		return server.AsError(err)
	}
	found, err := s.api.TryConnector(ctx, d.Instance, trial)
	if err != nil {
		e := *server.AsError(err)
		e.Detail, e.Hint = d.hide(e.Detail), d.hide(e.Hint)
		return &e
	}
	d.Found, d.More = found.Tables, found.More
	if len(d.Found) > draftTables {
		d.Found, d.More = d.Found[:draftTables], true
	}
	kept := map[string]bool{}
	for i := range d.Found {
		t := &d.Found[i]
		if len(d.Found) > 500 { // the columns of thousands of tables are megabytes, and shown by nobody
			t.Columns = nil
		}
		if d.Chosen[t.ID] || d.Chosen == nil && len(d.Found) <= tablesOnPage {
			kept[t.ID] = true
		}
	}
	d.Chosen, d.Tried, d.TriedAt, d.Again = kept, true, time.Now(), false
	return nil
}

// hide takes the secrets of a draft out of a text, should a service have said one.
func (d draft) hide(text string) string {
	for _, f := range fieldsOf(d.Kind) {
		if v := d.Values[f.Name]; f.Secret && len(v) >= 4 {
			for _, form := range []string{v, url.QueryEscape(v), url.PathEscape(v)} {
				text = strings.ReplaceAll(text, form, "(secret)")
			}
		}
	}
	return text
}
