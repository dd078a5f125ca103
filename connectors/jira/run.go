package jira

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/connectors"
)

// run is one Sync.
type run struct {
	source  *Source
	job     connectors.Job
	site    *site
	results []connectors.TableResult // by the tables of the job
	next    connectors.State
}

// walk fills the tables of a group. The error is one that ends the run.
func (r *run) walk(ctx context.Context, g *group) error {
	var err error
	switch {
	case g.only != "":
		err = r.list(ctx, g)
	case g.strategy == connectors.Partitioned && g.since > 0:
		err = r.months(ctx, g)
	default:
		err = r.issues(ctx, g)
	}
	for _, w := range g.wishes {
		r.settle(g, w, err)
	}
	if errors.Is(err, errCredentials) || ctx.Err() != nil {
		return err
	}
	return nil
}

// settle says what became of a table. Months that are whole are kept also when a
// later one failed.
func (r *run) settle(g *group, w *wish, err error) {
	parts := g.strategy == connectors.Partitioned
	w.out.abandon()
	if err != nil && (!parts || len(w.out.parts) == 0) {
		_ = os.Remove(filepath.Join(r.job.Dir, w.spec.Name+".ndjson.gz"))
		_ = os.RemoveAll(filepath.Join(r.job.Dir, w.spec.Name)) // Dir is thrown away with the run in any case
		r.fail(w.index, fmt.Errorf("read table %s: %w", w.spec.Name, err))
		return
	}
	result := connectors.TableResult{Table: w.spec.Name, Outcome: connectors.OK, Rows: w.out.rows, Bytes: w.out.bytes, Columns: w.kind.plain(),
		PrimaryKey: w.kind.key, Description: w.kind.about, Warnings: w.said, Changes: g.since > 0}
	if parts && (g.since > 0 || err != nil) {
		result.Parts, result.Changes = w.out.parts, true
	}
	if err != nil {
		result.Outcome, result.Error, result.Hint = connectors.Partial, err.Error(), connectors.Hint(err)
	} else {
		r.next.Tables[w.spec.Name] = connectors.Left{Since: r.site.now.Add(-r.source.settings.Overlap).Unix(), Request: w.request, Columns: result.Columns}
	}
	r.results[w.index] = result
}

func (r *run) fail(i int, err error) {
	r.results[i] = connectors.TableResult{Table: r.job.Tables[i].Name, Outcome: connectors.Failed, Error: err.Error(), Hint: connectors.Hint(err)}
}

func (r *run) failAll(g *group, err error) {
	for _, w := range g.wishes {
		r.fail(w.index, err)
	}
}

// list fills the tables that are no issues.
func (r *run) list(ctx context.Context, g *group) error {
	for _, w := range g.wishes {
		if err := w.out.open(""); err != nil {
			return err
		}
		get := r.users
		if g.only == "fields" {
			get = r.fieldRows
		}
		if err := get(ctx, w.out.row); err != nil {
			return err
		}
		if err := w.out.finish(); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) fieldRows(ctx context.Context, row func(object) error) error {
	var fields []object
	if err := r.source.do(ctx, r.site.api+"/field", nil, nil, &fields); err != nil {
		return fmt.Errorf("list fields: %w", err)
	}
	for _, f := range fields {
		if err := row(f); err != nil {
			return err
		}
	}
	return nil
}

// users pages until a page is empty: pages are thinned out by what may be seen.
func (r *run) users(ctx context.Context, row func(object) error) error {
	const page = 200
	path, query := r.site.api+"/users/search", url.Values{"maxResults": {strconv.Itoa(page)}}
	if !r.site.cloud {
		path = r.site.api + "/user/search"
		query.Set("username", ".") // matches each
		query.Set("includeInactive", "true")
	}
	seen := map[string]bool{}
	for start := 0; start < maxPages*page; start += page {
		query.Set("startAt", strconv.Itoa(start))
		var found []object
		if err := r.source.do(ctx, path, query, nil, &found); err != nil {
			return fmt.Errorf("list users: %w", err)
		}
		fresh := false
		for _, u := range found {
			id := fmt.Sprint(u["accountId"], " ", u["key"], " ", u["name"])
			if seen[id] {
				continue
			}
			seen[id], fresh = true, true
			u["_self"] = u
			if err := row(u); err != nil {
				return err
			}
		}
		if !fresh {
			return nil
		}
	}
	return errors.New("list users: there is no last page")
}

// issues walks over all that is wanted: into one file, or, for parts, into a file
// for each month.
func (r *run) issues(ctx context.Context, g *group) error {
	condition := everything
	if g.since > 0 {
		condition = r.site.since(time.Unix(g.since, 0))
	}
	q := g.query(search(r.source.settings.JQL, g.where, condition))
	parts, month, done := g.strategy == connectors.Partitioned, "", int64(0)
	if !parts {
		if err := g.open(""); err != nil {
			return err
		}
	}
	err := r.search(ctx, q, func(one issue) error {
		if parts {
			of, err := monthOf(one)
			switch {
			case err != nil:
				return err
			case of < month:
				return fmt.Errorf("search issues: %s came out of order", one.Key)
			case of > month:
				if err := errors.Join(g.finish(), g.open(of)); err != nil {
					return err
				}
				month = of
			}
		}
		done++
		r.progress(g, done)
		return r.write(ctx, g, one)
	})
	if err != nil {
		return err
	}
	return g.finish()
}

// months finds the months with something updated in them, and fetches these whole:
// so a comment or an issue that was deleted goes with them.
func (r *run) months(ctx context.Context, g *group) error {
	var months []string
	changed := query{jql: search(r.source.settings.JQL, g.where, r.site.since(time.Unix(g.since, 0))), fields: []string{"created"}}
	err := r.search(ctx, changed, func(one issue) error {
		month, err := monthOf(one)
		if err == nil && !slices.Contains(months, month) {
			months = append(months, month)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Sort(months)
	done := int64(0)
	for _, month := range months {
		range_, err := r.site.within(month)
		if err != nil {
			return err
		}
		if err := g.open(month); err != nil {
			return err
		}
		err = r.search(ctx, g.query(search(r.source.settings.JQL, g.where, range_)), func(one issue) error {
			if of, err := monthOf(one); err != nil || of != month {
				return err
			}
			done++
			r.progress(g, done)
			return r.write(ctx, g, one)
		})
		if err != nil {
			return fmt.Errorf("part %s: %w", month, err)
		}
		if err := g.finish(); err != nil {
			return err
		}
	}
	return nil
}

// monthOf is the month, in UTC, that an issue was created in: it never changes, so
// an issue never moves to another part.
func monthOf(one issue) (string, error) {
	text, _ := one.Fields["created"].(string)
	t, err := parseTime(text)
	if err != nil {
		return "", fmt.Errorf("issue %s: created: %w", one.Key, err)
	}
	return t.UTC().Format("2006-01"), nil
}

func (r *run) progress(g *group, done int64) {
	if r.job.Progress != nil && done%pageSize == 0 {
		for _, w := range g.wishes {
			r.job.Progress(w.spec.Name, done, 0)
		}
	}
}

func (g *group) open(part string) error {
	for _, w := range g.wishes {
		if err := w.out.open(part); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) finish() error {
	for _, w := range g.wishes {
		if err := w.out.finish(); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) wants(id string) bool {
	return slices.ContainsFunc(g.wishes, func(w *wish) bool { return w.kind.id == id })
}
