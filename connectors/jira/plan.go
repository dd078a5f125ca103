package jira

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/fairlead/fairlead/connectors"
)

// wish is a table of the job, planned.
type wish struct {
	index   int
	spec    connectors.TableSpec
	kind    kind
	request string
	said    []string
	out     *writer
}

// group is tables that are filled by one walk.
type group struct {
	strategy connectors.Strategy
	where    string
	since    int64 // 0: everything
	only     string
	wishes   []*wish
}

// groups plans the tables and puts those together that want the same issues. A
// table that cannot be planned has failed.
func (r *run) groups(past connectors.State) (out []*group) {
	kinds := kindsOf(r.site.fields)
	for i, spec := range r.job.Tables {
		w, since, err := r.plan(i, spec, kinds, past.Tables[spec.Name])
		if err != nil {
			r.fail(i, fmt.Errorf("plan table %s: %w", spec.Name, err))
			continue
		}
		g := &group{strategy: spec.Strategy, where: spec.Where, since: since}
		if w.kind.id == "fields" || w.kind.id == "users" {
			g.only = w.kind.id
		}
		j := slices.IndexFunc(out, func(o *group) bool {
			return o.strategy == g.strategy && o.where == g.where && o.since == g.since && o.only == g.only
		})
		if j < 0 {
			j, out = len(out), append(out, g)
		}
		out[j].wishes = append(out[j].wishes, w)
	}
	return out
}

func (r *run) plan(i int, spec connectors.TableSpec, kinds []kind, past connectors.Left) (*wish, int64, error) {
	at := slices.IndexFunc(kinds, func(k kind) bool { return k.id == spec.ID })
	if at < 0 {
		return nil, 0, connectors.WithHint(fmt.Errorf("there is no table %q", spec.ID), "There are issues, comments, changelog, worklogs, links, fields and users")
	}
	if err := checkJQL(spec.Where); err != nil {
		return nil, 0, fmt.Errorf("where: %w", err)
	}
	k, err := kinds[at].choose(spec.Columns, r.site.fields)
	if err != nil {
		return nil, 0, connectors.WithHint(err, "Name a column as discovery shows it, or a field as Jira names it")
	}
	w := &wish{index: i, spec: spec, kind: k, out: &writer{dir: r.job.Dir, name: spec.Name, columns: k.columns}}
	request, _ := json.Marshal([]any{r.source.base.String(), r.source.settings.JQL, spec.ID, spec.Where, spec.Columns, spec.Strategy}) // strings: it cannot fail
	w.request = string(request)
	var retyped bool
	if len(past.Columns) > 0 && len(spec.Columns) == 0 {
		w.said, retyped = connectors.SchemaChanges(past.Columns, k.plain())
	}
	single := spec.ID == "fields" || spec.ID == "users"
	switch spec.Strategy {
	case connectors.Full, "":
		return w, 0, nil
	case connectors.Incremental, connectors.Partitioned:
		if single {
			return nil, 0, connectors.WithHint(fmt.Errorf("strategy %s: the table has no times", spec.Strategy), "Use full")
		}
		if past.Request != w.request || past.Since <= 0 || retyped {
			return w, 0, nil
		}
		return w, past.Since, nil
	}
	return nil, 0, fmt.Errorf("strategy %q: must be full, incremental or partitioned", spec.Strategy)
}
