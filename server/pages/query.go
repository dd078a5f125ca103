package pages

import (
	"cmp"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// The bounds of a query that is made on a page.
const (
	queryText     = 64 << 10
	queryRows     = 100
	downloadRows  = 100_000_000 // the host's own bound is lower
	downloadLimit = 15 * time.Minute
	schemaTables  = 300 // in the list at the side
	schemaColumns = 80
)

func queryLimits() []int64 { return []int64{20, 100, 500, 1000} }

func (s *Site) queryRoutes() {
	s.page("GET /query", auth.RoleAnalyst, s.queryPage)
	s.page("POST /query", auth.RoleAnalyst, s.ask)
	s.page("POST /query/forget", auth.RoleAnalyst, s.forgetAsked)
	s.pageWithin(downloadLimit, "GET /query/download", auth.RoleAnalyst, s.download)
}

// queryData is what the query page shows.
type queryData struct {
	Instances []string
	Instance  string
	SQL       string
	Limit     int64
	Limits    []int64
	Schema    []schemaSource
	More      int // tables that are not in Schema
	NoData    *server.Error
	Examples  []example
	History   []askedQuery
	Run       string // the query whose result is shown
	Grid      *grid
	Failed    *server.Error
	Line      int // that the error is about; 0: nobody knows
	Chart     *chart
	Choice    chartChoice
	Drawable  bool // there is something to draw
}

// Lines is how high the editor is.
func (d queryData) Lines() int { return min(max(strings.Count(d.SQL, "\n")+2, 5), 14) }

type schemaSource struct {
	Name   string
	Tables []schemaTable
}

type schemaTable struct {
	connectors.CatalogTable
	Path, Start string // its page, and the query that shows its rows
	Hidden      int    // columns that are not listed
}

type example struct{ Title, SQL, Path string }

// queryPage shows the editor, and the result of the query that run names. It is
// asked by its ID, which only the session that made it has: a link from
// elsewhere can fill the editor, and ask nothing.
func (s *Site) queryPage(v *visit) (reply, error) {
	q := v.URL.Query()
	d := queryData{Instances: s.instanceNames(), Instance: q.Get("instance"), SQL: cutBytes(q.Get("sql"), queryText), Limit: queryRows, Limits: queryLimits()}
	if id := q.Get("run"); id != "" {
		past, known := s.asked.find(v.session(), id)
		if !known {
			return v.to("/query", "bad", "That query is not remembered any more: the session or the daemon is another one. Ask it again."), nil
		}
		d.Run, d.Instance, d.SQL, d.Limit = id, past.Instance, past.SQL, past.Limit
	}
	if !slices.Contains(d.Instances, d.Instance) {
		d.Instance = ""
		if len(d.Instances) > 0 {
			d.Instance = d.Instances[0]
		}
	}
	s.fillSchema(v, &d)
	status := 0
	if d.Run != "" {
		if s.answer(v, &d, q); d.Failed != nil {
			status = d.Failed.Status
		}
	}
	d.History = s.asked.list(v.session())
	return view{Template: "query", Title: "Query", Nav: "query", Status: status, Data: d}, nil
}

// instanceNames are those whose data may be asked.
func (s *Site) instanceNames() (names []string) {
	for _, status := range s.api.Statuses() {
		names = append(names, status.Name)
	}
	return names
}

// fillSchema lists what there is to ask. The page works without it.
func (s *Site) fillSchema(v *visit, d *queryData) {
	if d.Instance == "" {
		d.NoData = &server.Error{Detail: "There is no instance yet, and so no data.", Hint: "Add a source of data first."}
		return
	}
	tables, err := s.api.Catalog(v.Context(), d.Instance)
	if err != nil {
		d.NoData = server.AsError(err)
		return
	}
	d.Schema, d.More = schemaOf(d.Instance, tables)
	d.Examples = examplesOf(d.Instance, tables)
}

func schemaOf(instance string, tables []connectors.CatalogTable) (list []schemaSource, more int) {
	more = max(0, len(tables)-schemaTables)
	for _, t := range tables[:len(tables)-more] {
		hidden := max(0, len(t.Columns)-schemaColumns)
		t.Columns = t.Columns[:len(t.Columns)-hidden]
		entry := schemaTable{CatalogTable: t, Path: tablePath(instance, t.Source, t.Name), Start: queryPath(instance, firstRows(t)), Hidden: hidden}
		if n := len(list); n == 0 || list[n-1].Name != t.Source {
			list = append(list, schemaSource{Name: t.Source})
		}
		last := &list[len(list)-1]
		last.Tables = append(last.Tables, entry)
	}
	return list, more
}

// examplesOf are queries that work on the data that is there.
func examplesOf(instance string, tables []connectors.CatalogTable) (out []example) {
	add := func(title, sql string) { out = append(out, example{title, sql, queryPath(instance, sql)}) }
	rich := func(t connectors.CatalogTable) bool {
		return columnOf(t, "time") != "" && t.QueryMode != "remote" && t.Rows > 0
	}
	if i := slices.IndexFunc(tables, rich); i >= 0 {
		t := tables[i]
		day := quoted(columnOf(t, "time"))
		value, what := "count(*)", "Rows"
		if n := columnOf(t, "num"); n != "" {
			value, what = "sum("+quoted(n)+")", "Sum of "+n
		}
		add(what+" by day", fmt.Sprintf("SELECT CAST(%s AS DATE) AS day, %s AS total\nFROM %s\nGROUP BY day\nORDER BY day DESC\nLIMIT 60", day, value, from(t)))
	}
	if len(tables) > 0 {
		add("First rows of "+tables[0].Name, firstRows(tables[0]))
	}
	add("What the last syncs brought", "SELECT started, source, table_name, table_outcome, \"rows\"\nFROM fairlead.sync_history\nORDER BY started DESC\nLIMIT 100")
	add("What was applied, and when", "SELECT started, kind, outcome, author, subject, seconds\nFROM fairlead.history\nORDER BY started DESC\nLIMIT 100")
	return out
}

// columnOf is the first column of a kind, of numbers one that is no key.
func columnOf(t connectors.CatalogTable, kind string) string {
	for _, c := range t.Columns {
		name := strings.ToLower(c.Name)
		if columnKind(c.Type) == kind && (kind != "num" || name != "id" && !strings.HasSuffix(name, "_id")) && c.Type != "TIME" {
			return c.Name
		}
	}
	return ""
}

func firstRows(t connectors.CatalogTable) string { return "SELECT *\nFROM " + from(t) + "\nLIMIT 100" }

// from names a table as a query does.
func from(t connectors.CatalogTable) string {
	if t.Flat != "" {
		return quoted(t.Flat)
	}
	return quoted(t.Source) + "." + quoted(t.Name)
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// quoted writes a name of SQL, in quotes unless it needs none.
func quoted(name string) string {
	if plainName.MatchString(name) && !slices.Contains(reserved(), name) {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// reserved are the words that data is often called by and SQL keeps for itself.
func reserved() []string {
	return []string{"all", "analyse", "analyze", "and", "any", "array", "as", "asc", "both", "case", "cast", "check", "collate", "column", "constraint",
		"create", "default", "desc", "describe", "distinct", "do", "else", "end", "except", "false", "fetch", "for", "foreign", "from", "group",
		"having", "in", "initially", "intersect", "into", "lambda", "lateral", "leading", "limit", "not", "null", "offset", "on", "only", "or", "order",
		"pivot", "placing", "primary", "qualify", "references", "returning", "select", "show", "some", "summarize", "symmetric", "table", "then",
		"to", "trailing", "true", "union", "unique", "unpivot", "using", "variadic", "when", "where", "window", "with"}
}

func queryPath(instance, sql string) string {
	return "/query?" + url.Values{"instance": {instance}, "sql": {sql}}.Encode()
}

// answer runs the query of a page.
func (s *Site) answer(v *visit, d *queryData, params url.Values) {
	g := &grid{}
	res, err := s.api.Query(v.Context(), d.Instance, server.Query{SQL: d.SQL, Limit: d.Limit, Format: "json", User: v.who()},
		func(r server.QueryResult) error {
			g.Columns = gridColumns(r.Columns)
			return nil
		}, g)
	if err != nil {
		d.Failed = server.AsError(err)
		d.Line = lineOf(d.Failed.Detail)
		s.asked.end(v.session(), d.Run, 0, 0, true)
		return
	}
	g.Count, g.Truncated, g.Took = res.Rows, res.Truncated, res.Took
	s.asked.end(v.session(), d.Run, res.Took, res.Rows, false)
	d.Grid = g
	own, drawable := chooseChart(g)
	d.Drawable = drawable
	if asked := chosenChart(params); asked.fits(g) {
		own, drawable = asked, true
	}
	if d.Choice = own; drawable && params.Get("chart") != "none" {
		d.Chart, _ = drawChart(g, own)
	}
}

func chosenChart(params url.Values) chartChoice {
	x, errX := strconv.Atoi(params.Get("x"))
	y, errY := strconv.Atoi(params.Get("y"))
	if errX != nil || errY != nil {
		x, y = -1, -1
	}
	return chartChoice{Kind: params.Get("chart"), X: x, Y: y}
}

var lineRegexp = regexp.MustCompile(`(?m)\bLINE ([0-9]{1,6}):`)

func lineOf(message string) int {
	if m := lineRegexp.FindStringSubmatch(message); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return 0
}

// ask remembers a query and leads to its result: so that the page can be
// reloaded, and the button back does not ask whether to send a form again.
func (s *Site) ask(v *visit) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	sql := strings.TrimSpace(strings.ReplaceAll(form.Get("sql"), "\r\n", "\n"))
	instance, format := form.Get("instance"), form.Get("do")
	if !slices.Contains(s.instanceNames(), instance) {
		return v.to("/query", "bad", "There is no instance of that name any more."), nil
	}
	switch {
	case format == "schema":
		return redirect{queryPath(instance, cutBytes(sql, 4<<10))}, nil
	case sql == "":
		return v.to("/query?instance="+url.QueryEscape(instance), "bad", "There is no statement. Write one, or take one of the examples."), nil
	case len(sql) > queryText:
		return nil, &server.Error{Status: http.StatusRequestEntityTooLarge, Detail: "the statement is longer than 64 KiB", Hint: "send a shorter one"}
	}
	limit, err := strconv.ParseInt(form.Get("limit"), 10, 64)
	if err != nil || !slices.Contains(queryLimits(), limit) {
		limit = queryRows
	}
	id := s.asked.add(v.session(), askedQuery{Instance: instance, SQL: sql, Limit: limit})
	if format != "" && format != "run" {
		return redirect{"/query/download?" + url.Values{"run": {id}, "format": {format}}.Encode()}, nil
	}
	return redirect{"/query?run=" + id + "#result"}, nil
}

func (s *Site) forgetAsked(v *visit) (reply, error) {
	s.asked.forget(v.session())
	return v.to("/query", "ok", "Your queries are forgotten."), nil
}

// formats are those of a download, with the ending of the file and its type.
func formats() map[string][2]string {
	return map[string][2]string{"csv": {"csv", "text/csv; charset=utf-8"}, "json": {"ndjson", "application/x-ndjson"},
		"arrow": {"arrows", "application/vnd.apache.arrow.stream"}, "parquet": {"parquet", "application/vnd.apache.parquet"}}
}

// download hands out all rows of a query.
func (s *Site) download(v *visit) (reply, error) {
	params := v.URL.Query()
	format := params.Get("format")
	kind, known := formats()[format]
	if !known {
		return nil, &server.Error{Status: http.StatusBadRequest, Detail: "there is no format " + cutRunes(format, 40), Hint: "take csv, json, arrow or parquet"}
	}
	past, known := s.asked.find(v.session(), params.Get("run"))
	if !known {
		return v.to("/query", "bad", "That query is not remembered any more. Ask it again, then download."), nil
	}
	begun := false
	w := &fileWriter{w: v.w, json: format == "json"}
	_, err := s.api.Query(v.Context(), past.Instance, server.Query{SQL: past.SQL, Limit: downloadRows, Format: format, User: v.who()},
		func(r server.QueryResult) error {
			begun = true
			w.columns = r.Columns
			h := v.w.Header()
			h.Set("Content-Type", kind[1])
			h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": fileName(past) + "." + kind[0]}))
			if r.Truncated {
				h.Set("X-Truncated", "true")
			}
			return nil
		}, w)
	switch {
	case err == nil:
		return done{}, nil
	case begun: // half of a file must not look like one
		panic(http.ErrAbortHandler)
	}
	s.asked.end(v.session(), past.ID, 0, 0, true)
	return nil, err
}

// fileName is what a download is called: when it was asked, and of what.
func fileName(q askedQuery) string { return q.Instance + "-" + q.At.UTC().Format("20060102-150405") }

// done is the reply of a handler that wrote its answer itself.
type done struct{}

func (done) send(*visit) {}

// session is what drafts and queries are bound to.
func (v *visit) session() string { return cmp.Or(v.Caller.Session, v.Caller.ID, v.Caller.Via) }
