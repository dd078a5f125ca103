package server

import (
	"context"
	"net/http"
	"slices"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// DiscoveredTable is a table that a service has.
type DiscoveredTable struct {
	connectors.Discovered
	Registered bool `json:"registered" doc:"it is asked for already"`
}

// SourceTables are what the service of a connector has.
type SourceTables struct {
	Tables []DiscoveredTable `json:"tables"`
	Count  int               `json:"count"`
	Source string            `json:"source"`
	More   bool              `json:"more,omitempty" doc:"there are others"`
}

// SourceTables asks the service of a connector what it has.
func (a *API) SourceTables(ctx context.Context, instance, name string, limit int) (SourceTables, error) {
	s, found, err := a.ask(ctx, instance, name, limit)
	out := SourceTables{Tables: []DiscoveredTable{}, Count: len(found.Tables), Source: s.connector, More: found.More}
	for _, t := range found.Tables {
		out.Tables = append(out.Tables, DiscoveredTable{t, slices.ContainsFunc(s.Tables, func(had desired.Table) bool { return serviceID(had) == t.ID })})
	}
	return out, err
}

// ask asks the service of a connector as it stands in the newest revision: the
// loop may not have taken it yet.
func (a *API) ask(ctx context.Context, instance, name string, limit int) (source, Discovery, error) {
	s, err := a.pickSource(ctx, instance, name, "")
	if err != nil {
		return s, Discovery{}, err
	}
	w := written{place: s.place, text: s.text}
	if s.path != s.file() || s.Image != "" {
		return s, Discovery{}, &Error{Status: http.StatusUnprocessableEntity, Detail: "discover tables of " + s.connector + ": it is a program, which nobody can ask",
			Hint: "its tables are in the catalog once it has run: POST /api/sync/trigger"}
	}
	if w.spec, err = a.cfg.Drafts.Connector(s.snapshot.Tree, s.instance, s.dir, s.connector, s.text, nil); err != nil {
		return s, Discovery{}, missingSecret(err)
	}
	found, err := a.try(ctx, w, limit)
	return s, found, err
}

// DiscoverRequest says which tables are wanted.
type DiscoverRequest struct {
	Instance string   `json:"instance,omitempty" maxLength:"39"`
	Source   string   `json:"source,omitempty" maxLength:"64" doc:"the connector; left out: the only one"`
	Tables   []string `json:"tables,omitempty" maxItems:"2000" doc:"ids or names that discover-tables gave; left out: all"`
}

// DiscoverResult is what came of it.
type DiscoverResult struct {
	Registered    int      `json:"registered"`
	Skipped       int      `json:"skipped" doc:"registered already; they stay as they are"`
	Errors        int      `json:"errors" doc:"wanted, and not there"`
	Tables        []string `json:"tables" doc:"the names of those that are new"`
	Source        string   `json:"source"`
	DryRun        bool     `json:"dry_run,omitempty"`
	WouldRegister int      `json:"would_register,omitempty"`
	Missing       []string `json:"missing,omitempty"`
	ChangeAnswer
}

// DiscoverAndRegister asks a service for its tables and commits those that are
// wanted. Tables that are registered stay as somebody wrote them.
func (a *API) DiscoverAndRegister(ctx context.Context, req DiscoverRequest, dry bool) (DiscoverResult, error) {
	return retried(func() (DiscoverResult, error) {
		s, found, err := a.ask(ctx, req.Instance, req.Source, maxChosen)
		out := DiscoverResult{Tables: []string{}, Source: s.connector, DryRun: dry}
		if err != nil {
			return out, err
		}
		wanted, missing := chosenOf(found.Tables, req.Tables)
		out.Missing, out.Errors = missing, len(missing)
		text, added, err := addTables(s.text, wanted)
		if err != nil {
			return out, invalid(err)
		}
		out.Tables, out.Skipped = orEmpty(added), len(wanted)-len(added)
		if dry {
			out.WouldRegister = len(added)
			return out, nil
		}
		out.ChangeAnswer = changed(asBefore(s.snapshot), s.instance, s.connector)
		if out.Registered = len(added); len(added) > 0 {
			out.ChangeAnswer, err = a.commitSource(ctx, s, text, "Register "+reconciler.Count(len(added), "table")+" of "+s.connector)
		}
		return out, err
	})
}

// chosenOf are the tables that are wanted, and what nobody has of them.
func chosenOf(found []connectors.Discovered, names []string) (wanted []connectors.Discovered, missing []string) {
	if len(names) == 0 {
		return found, nil
	}
	for _, name := range names {
		i := slices.IndexFunc(found, func(t connectors.Discovered) bool { return t.ID == name })
		if i < 0 {
			i = slices.IndexFunc(found, func(t connectors.Discovered) bool { return t.Name == name })
		}
		if i < 0 {
			missing = append(missing, name)
			continue
		}
		wanted = append(wanted, found[i])
	}
	return wanted, missing
}
