package jira

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
)

const (
	pageSize = 100
	maxPages = 1_000_000
	maxIdle  = 200 // pages in a row without a new issue
	recent   = 500 // issues that are remembered, to know where a page goes on
)

// issue is one of a page of the search.
type issue struct {
	ID        string `json:"id"`
	Key       string `json:"key"`
	Fields    object `json:"fields"`
	Changelog *page  `json:"changelog"`
}

// page is a piece of a longer list, in the forms that Jira has for them.
type page struct {
	StartAt   int      `json:"startAt"`
	Total     *int     `json:"total"`
	IsLast    bool     `json:"isLast"`
	Comments  []object `json:"comments"`
	Worklogs  []object `json:"worklogs"`
	Histories []object `json:"histories"`
	Values    []object `json:"values"`
}

func (p page) items() []object {
	return slices.Concat(p.Comments, p.Worklogs, p.Histories, p.Values)
}

// query is a search and what of each issue is wanted.
type query struct {
	jql     string
	fields  []string
	history bool
}

// search walks over all issues, each once, in the order of the JQL.
func (r *run) search(ctx context.Context, q query, each func(issue) error) error {
	if r.site.cloud {
		return r.searchCloud(ctx, q, each)
	}
	return r.searchCenter(ctx, q, each)
}

// searchCloud pages by token: /rest/api/3/search/jql.
func (r *run) searchCloud(ctx context.Context, q query, each func(issue) error) error {
	seen, token := &window{}, ""
	for range maxPages {
		body := map[string]any{"jql": q.jql, "fields": q.fields, "maxResults": pageSize}
		if q.history {
			body["expand"] = "changelog"
		}
		if token != "" {
			body["nextPageToken"] = token
		}
		var found struct {
			Issues []issue `json:"issues"`
			Next   string  `json:"nextPageToken"`
			IsLast bool    `json:"isLast"`
		}
		if err := r.source.do(ctx, "rest/api/3/search/jql", nil, body, &found); err != nil {
			return fmt.Errorf("search issues: %w", err)
		}
		for _, one := range found.Issues {
			if seen.add(one.ID) {
				if err := each(one); err != nil {
					return err
				}
			}
		}
		if found.Next == "" || found.IsLast {
			return nil
		}
		if found.Next == token {
			return errors.New("search issues: the same page comes again and again")
		}
		token = found.Next
	}
	return errors.New("search issues: there is no last page")
}

// searchCenter pages by position: /rest/api/2/search. An issue that is deleted
// meanwhile moves those behind it to the front, so each page begins with the last
// issue of the one before, and when it is not there the walk goes back.
func (r *run) searchCenter(ctx context.Context, q query, each func(issue) error) error {
	seen, start := &window{}, 0
	for idle := 0; idle < maxIdle; idle++ {
		body := map[string]any{"jql": q.jql, "fields": q.fields, "maxResults": pageSize, "startAt": start}
		if q.history {
			body["expand"] = []string{"changelog"}
		}
		var found struct {
			StartAt int     `json:"startAt"`
			Total   int     `json:"total"`
			Issues  []issue `json:"issues"`
		}
		if err := r.source.do(ctx, "rest/api/2/search", nil, body, &found); err != nil {
			return fmt.Errorf("search issues: %w", err)
		}
		n := len(found.Issues)
		fresh := 0
		for i, one := range found.Issues {
			if seen.has(one.ID) {
				fresh = i + 1
			}
		}
		if fresh == 0 && start > 0 && seen.count > 0 {
			if start = max(0, start-max(n, 10)); start == 0 && seen.count > recent {
				return errors.New("search issues: more was deleted meanwhile than can be followed")
			}
			continue
		}
		for _, one := range found.Issues[fresh:] {
			seen.add(one.ID)
			idle = 0
			if err := each(one); err != nil {
				return err
			}
		}
		if n == 0 || start+n >= found.Total {
			return nil
		}
		start += max(n-1, 1)
	}
	return errors.New("search issues: the walk does not move on")
}

// window remembers the issues that came last.
type window struct {
	ring  [recent]string
	set   map[string]bool
	count int
}

func (w *window) has(id string) bool { return w.set[id] }

// add reports whether the issue is new.
func (w *window) add(id string) bool {
	if w.set[id] {
		return false
	}
	if w.set == nil {
		w.set = map[string]bool{}
	}
	at := w.count % recent
	delete(w.set, w.ring[at])
	w.ring[at] = id
	w.set[id] = true
	w.count++
	return true
}

// rest completes a list of which the search gave a part: comments, worklogs and
// histories are embedded up to some number only.
func (r *run) complete(ctx context.Context, embedded *page, one issue, what string) ([]object, error) {
	if embedded != nil && embedded.Total != nil && len(embedded.items()) >= *embedded.Total {
		return embedded.items(), nil
	}
	if what == "changelog" && !r.site.cloud { // has no pages of its own there
		var whole issue
		err := r.source.do(ctx, r.site.api+"/issue/"+url.PathEscape(one.ID), url.Values{"expand": {"changelog"}, "fields": {"created"}}, nil, &whole)
		if err != nil || whole.Changelog == nil {
			return nil, err
		}
		return whole.Changelog.items(), nil
	}
	var all []object
	for range maxPages {
		var next page
		query := url.Values{"startAt": {strconv.Itoa(len(all))}, "maxResults": {strconv.Itoa(pageSize)}}
		if err := r.source.do(ctx, r.site.api+"/issue/"+url.PathEscape(one.ID)+"/"+what, query, nil, &next); err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", what, one.Key, err)
		}
		items := next.items()
		all = append(all, items...)
		if len(items) == 0 || next.IsLast || (next.Total != nil && len(all) >= *next.Total) {
			return all, nil
		}
	}
	return nil, fmt.Errorf("read %s of %s: there is no last page", what, one.Key)
}
