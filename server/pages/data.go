package pages

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// The bounds of the catalogue on a page.
const (
	catalogPage = 100
	sampleRows  = 20
)

func (s *Site) dataRoutes() {
	s.page("GET /data", auth.RoleViewer, s.dataPage)
	s.page("GET /data/tables/{instance}/{source}/{table}", auth.RoleAnalyst, s.tablePage)
	s.page("GET /data/sources/{instance}/{source}", auth.RoleViewer, s.sourcePage)
	s.page("POST /data/sources/{instance}/{source}/run", auth.RoleAdmin, s.runSource)
	s.page("POST /data/sources/{instance}/{source}/cancel", auth.RoleAdmin, s.cancelSource)
	s.page("POST /data/sources/{instance}/{source}/rollback", auth.RoleAdmin, s.rollbackSource)
	s.page("GET /data/runs", auth.RoleViewer, s.runsPage)
	s.page("GET /data/runs/{instance}/{source}/{run}", auth.RoleAnalyst, s.runPage)
	s.page("GET /data/runs/{instance}/{source}/{run}/log", auth.RoleAnalyst, s.runLog)
}

func tablePath(instance, source, table string) string {
	return "/data/tables/" + url.PathEscape(instance) + "/" + url.PathEscape(source) + "/" + url.PathEscape(table)
}

func sourcePath(instance, source string) string {
	return "/data/sources/" + url.PathEscape(instance) + "/" + url.PathEscape(source)
}

func runPath(instance, source string, run int64) string {
	return "/data/runs/" + url.PathEscape(instance) + "/" + url.PathEscape(source) + "/" + strconv.FormatInt(run, 10)
}

// sourceCard is a connector as a list shows it.
type sourceCard struct {
	reconciler.AttachmentStatus
	Instance, Path string
	Title          string // of its kind
	Tone           string // ok, run, warn, bad or off
	Word           string // how it stands, in a word
}

func cardOf(instance string, a reconciler.AttachmentStatus) sourceCard {
	c := sourceCard{AttachmentStatus: a, Instance: instance, Path: sourcePath(instance, a.Name), Title: a.Kind}
	if k, known := kindOf(a.Kind); known {
		c.Title = k.Title
	}
	c.Tone, c.Word = sourceTone(a)
	return c
}

func sourceTone(a reconciler.AttachmentStatus) (tone, word string) {
	switch {
	case a.Phase == reconciler.AttachmentFailed:
		return "bad", "Failed"
	case a.Running || a.Phase == reconciler.AttachmentRunning:
		return "run", "Syncing"
	case a.Phase == reconciler.AttachmentDegraded:
		return "warn", "Degraded"
	case a.Phase == reconciler.AttachmentLive && len(a.Conflicts) > 0:
		return "warn", "Live, names taken"
	case a.Phase == reconciler.AttachmentLive:
		return "ok", "Live"
	}
	return "off", "Pending"
}

// dataData is what the page of the catalogue shows.
type dataData struct {
	Sources   []sourceCard
	Instances []string
	Instance  string // only this one; empty: all
	Search    string
	Tables    []catalogRow
	Total     int // that fit the search
	All       int
	Pages     part
	Problems  []string // of instances whose tables could not be listed
	Rows      int64
	Bytes     int64
}

type catalogRow struct {
	connectors.CatalogTable
	Instance, Path, Query string
}

// dataPage lists sources and tables. A viewer sees how the sources stand.
func (s *Site) dataPage(v *visit) (reply, error) {
	q := v.URL.Query()
	d := dataData{Instances: s.instanceNames(), Instance: q.Get("instance"), Search: strings.TrimSpace(cutBytes(q.Get("q"), 200))}
	for _, status := range s.api.Statuses() {
		if d.Instance != "" && status.Name != d.Instance {
			continue
		}
		for _, a := range status.Attachments {
			d.Sources = append(d.Sources, cardOf(status.Name, a))
		}
		if v.may(auth.RoleAnalyst) && len(status.Attachments) > 0 {
			s.addTables(v.Context(), &d, status.Name)
		}
	}
	d.Total = len(d.Tables)
	d.Pages = partOf(v.URL, d.Total, catalogPage)
	d.Tables = d.Tables[d.Pages.From:d.Pages.To]
	return view{Template: "data", Title: "Data", Nav: "data", Live: cmp.Or(d.Instance, everything), Data: d}, nil
}

func (s *Site) addTables(ctx context.Context, d *dataData, instance string) {
	tables, err := s.api.Catalog(ctx, instance)
	if err != nil {
		d.Problems = append(d.Problems, instance+": "+server.AsError(err).Detail)
		return
	}
	for _, t := range tables {
		d.All, d.Rows, d.Bytes = d.All+1, d.Rows+t.Rows, d.Bytes+t.Bytes
		if fitsSearch(t, d.Search) {
			d.Tables = append(d.Tables, catalogRow{t, instance, tablePath(instance, t.Source, t.Name), queryPath(instance, firstRows(t))})
		}
	}
}

// fitsSearch looks for every word in the names, the description and the columns.
func fitsSearch(t connectors.CatalogTable, search string) bool {
	text := strings.ToLower(t.Source + "." + t.Name + " " + t.Description + " " + t.Owner)
	for word := range strings.FieldsSeq(strings.ToLower(search)) {
		in := func(c connectors.Column) bool { return strings.Contains(strings.ToLower(c.Name), word) }
		if !strings.Contains(text, word) && !slices.ContainsFunc(t.Columns, in) {
			return false
		}
	}
	return true
}

// part is one page of a list, and the ways to the pages beside it.
type part struct {
	pager
	From, To, Total int
	Page, Last      int
}

// Way is the way to the pages beside it.
func (p part) Way() pager { return p.pager }

// partOf reads page= of an address, from 1 on.
func partOf(u *url.URL, total, each int) part {
	p := part{Total: total, Last: max(1, (total+each-1)/each)}
	page, _ := strconv.Atoi(u.Query().Get("page"))
	p.Page = min(max(1, page), p.Last)
	p.From, p.To = (p.Page-1)*each, min(p.Page*each, total)
	at := func(page int) string {
		q := u.Query()
		q.Set("page", strconv.Itoa(page))
		return u.Path + "?" + q.Encode()
	}
	if p.Page > 1 {
		p.Before = at(p.Page - 1)
	}
	if p.Page < p.Last {
		p.After = at(p.Page + 1)
	}
	p.Text = fmt.Sprintf("%s–%s of %s", grouped(min(p.From+1, total)), grouped(p.To), grouped(total))
	return p
}

// tableData is what the page of a table shows.
type tableData struct {
	connectors.CatalogTable
	Instance, Path string
	Query, Sum     string // paths of the query page
	SourcePath     string
	Card           *sourceCard
	Profile        *profile
	ProfileFailed  *server.Error
	Sample         *grid
	SampleFailed   *server.Error
	Remote         bool
}

// profile is what is in a column, as package analytics tells it.
type profile struct {
	Column     string            `json:"column"`
	Type       string            `json:"type"`
	Rows       int64             `json:"rows"`
	Sampled    bool              `json:"sampled"`
	SampleRows int64             `json:"sample_rows"`
	Nulls      int64             `json:"nulls"`
	Distinct   *int64            `json:"distinct"`
	Min        *string           `json:"min"`
	Max        *string           `json:"max"`
	Avg        *string           `json:"avg"`
	Quantiles  map[string]string `json:"quantiles"`
	Top        []profileValue    `json:"top"`
	Took       time.Duration     `json:"-"`
}

type profileValue struct {
	Value string `json:"value"`
	Count int64  `json:"count"`
}

// Share is how much of the rows something is, in percent.
func (p profile) Share(n int64) string {
	whole := p.Rows
	if p.Sampled {
		whole = p.SampleRows
	}
	if whole <= 0 {
		return "0"
	}
	return strconv.FormatFloat(min(100, float64(n)*100/float64(whole)), 'f', 1, 64)
}

// DistinctText is about how many values there are; empty: nobody knows.
func (p profile) DistinctText() string {
	if p.Distinct == nil {
		return ""
	}
	return grouped(*p.Distinct)
}

// Spread are the quantiles, in order.
func (p profile) Spread() (list []option) {
	for _, q := range []struct{ key, label string }{{"0.05", "5 % are below"}, {"0.25", "A quarter is below"}, {"0.5", "Half are below"}, {"0.75", "Three quarters are below"}, {"0.95", "95 % are below"}} {
		if v, has := p.Quantiles[q.key]; has {
			list = append(list, option{Value: v, Label: q.label})
		}
	}
	return list
}

func (s *Site) tablePage(v *visit) (reply, error) {
	instance, source, name := v.PathValue("instance"), v.PathValue("source"), v.PathValue("table")
	tables, err := s.api.Catalog(v.Context(), instance)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(tables, func(t connectors.CatalogTable) bool { return t.Source == source && t.Name == name })
	if i < 0 {
		return nil, &server.Error{Status: http.StatusNotFound, Detail: "there is no table " + cutRunes(source+"."+name, 140) + " in " + instance, Hint: "the page Data lists those that there are"}
	}
	t := tables[i]
	d := tableData{CatalogTable: t, Instance: instance, Path: v.URL.Path, Query: queryPath(instance, firstRows(t)), SourcePath: sourcePath(instance, source),
		Sum: queryPath(instance, "SUMMARIZE "+from(t)), Remote: t.QueryMode == desired.QueryRemote}
	if a, err := s.api.Connector(v.Context(), instance, source); err == nil {
		card := cardOf(instance, a)
		d.Card = &card
	}
	if column := v.URL.Query().Get("profile"); column != "" {
		d.Profile, d.ProfileFailed = s.profile(v, instance, t, column)
	}
	if !d.Remote || v.URL.Query().Has("sample") {
		d.Sample, d.SampleFailed = s.sample(v, instance, t)
	}
	return view{Template: "table", Title: t.Name, Nav: "data", Data: d,
		Crumbs: []crumb{{"/data", "Data"}, {d.SourcePath, source}}}, nil
}

func (s *Site) profile(v *visit, instance string, t connectors.CatalogTable, column string) (*profile, *server.Error) {
	since := time.Now()
	raw, err := s.api.Profile(v.Context(), instance, v.who(), t.Source+"."+t.Name, column)
	if err != nil {
		return nil, server.AsError(err)
	}
	p := &profile{}
	if err := json.Unmarshal(raw, p); err != nil {
		return nil, server.AsError(fmt.Errorf("read profile: %w", err))
	}
	p.Took = time.Since(since)
	return p, nil
}

func (s *Site) sample(v *visit, instance string, t connectors.CatalogTable) (*grid, *server.Error) {
	g := &grid{}
	sql := "SELECT * FROM " + quoted(t.Source) + "." + quoted(t.Name)
	_, err := s.api.Query(v.Context(), instance, server.Query{SQL: sql, Limit: sampleRows, Format: "json", User: v.who()},
		func(r server.QueryResult) error {
			g.Columns = gridColumns(r.Columns)
			return nil
		}, g)
	if err != nil {
		return nil, server.AsError(err)
	}
	return g, nil
}
