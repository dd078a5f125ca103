package pages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/server"
)

// A query is written, answered, drawn, asked again and downloaded.
func TestQuery(t *testing.T) {
	t.Parallel()
	town := newAcme(t)
	b := town.admin(t)
	b.get("/query")
	b.want(200, "/query", "keboola", "orders", "DECIMAL(12,2)", "Sum of amount by day")
	b.submit("/query", "Run", "sql", "  ")
	b.want(200, "/query", "There is no statement")
	b.submit("/query", "Run", "sql", "SELECT day, total\nFROM orders", "limit", "20")
	b.want(200, "/query?run=", "20 rows", "there are more", "DECIMAL(38,2)", "NULL", "empty", "2026-11-01", "Only the first 20 rows")
	if svg := find(b.page, func(n *html.Node) bool { return n.Data == "svg" && attr(n, "role") == "img" }); svg == nil || !strings.Contains(inner(svg), "total by day, 19 values") {
		t.Error("nothing is drawn")
	}
	result := b.at.RequestURI()
	b.get(result)
	b.want(200, result, "20 rows", "SELECT day, total")
	b.submit("/query", "Draw", "chart", "bar", "x", "2", "y", "1")
	b.want(200, "/query?", "total by customer")
	b.submit("/query", "Draw", "chart", "none")
	if find(b.page, func(n *html.Node) bool { return n.Data == "svg" && attr(n, "role") == "img" }) != nil {
		t.Error("something is drawn although nothing was to be")
	}
	if q := town.wells.asked[0]; q.User != "Ada Lovelace" || q.Limit != 20 || q.Format != "json" {
		t.Errorf("asked as %+v", q)
	}
	b.get(strings.Replace(result, "/query", "/query/download", 1) + "&format=csv")
	if d := b.head.Get("Content-Disposition"); b.status != 200 || !strings.HasPrefix(d, "attachment; filename=acme-") || !strings.HasSuffix(d, ".csv") || !strings.HasPrefix(b.head.Get("Content-Type"), "text/csv") {
		t.Errorf("%d %v", b.status, b.head)
	}
	b.get(strings.Replace(result, "/query", "/query/download", 1) + "&format=json")
	first, _, _ := strings.Cut(b.text, "\n")
	if first != `{"day":"2026-11-01","total":900.25,"customer":"Customer 0"}` || b.head.Get("X-Truncated") != "" {
		t.Errorf("the first row is %s", first)
	}
	b.get(strings.Replace(result, "/query", "/query/download", 1) + "&format=xml")
	b.want(400, "/query/download", "take csv, json, arrow or parquet")
	b.get("/query")
	b.submit("/query/forget", "Forget")
	b.get(result)
	b.want(200, "/query", "not remembered any more")
}

// Whatever is in the data, in a statement or in an error is text.
func TestQueryIsEscaped(t *testing.T) {
	t.Parallel()
	const evil = `</td><script>alert(1)</script><img src=x onerror=alert(2)>"'` + "`{{.}}"
	town := newAcme(t)
	w := town.wells
	w.cols = []connectors.Column{{Name: evil, Type: "VARCHAR"}, {Name: "n\u202ex", Type: "BIGINT"}, {Name: "j", Type: `STRUCT("<b>" INTEGER)`}}
	long := strings.Repeat("ä", 5000) + "<end>"
	for i := range 3 {
		row, err := json.Marshal([]any{evil, i, map[string]string{"<b>": evil}})
		if err != nil {
			t.Fatal(err)
		}
		w.rows = append(w.rows, string(row))
	}
	row, _ := json.Marshal([]any{long, 9, nil})
	w.rows = append(w.rows, string(row), `["`+strings.Repeat("x", gridRow)+`",1,null]`, `["after the large one",1,null]`)
	b := town.admin(t)
	none := func() {
		t.Helper()
		if n := find(b.page, func(n *html.Node) bool { return n.Data == "img" || n.Data == "script" && attr(n, "src") == "" }); n != nil {
			t.Error("data became a part of the page")
		}
		if !strings.Contains(b.words(), "alert(1)") {
			t.Errorf("it is not shown: %s", b.words())
		}
	}
	b.get("/query")
	b.submit("/query", "Run", "sql", "SELECT '"+evil+"'")
	b.want(200, "/query?run=", "6 rows", "2 more rows do not fit", "the rest is in a download")
	none()
	if strings.Contains(b.text, "\u202e") || strings.Contains(b.text, "<end>") {
		t.Error("text is turned around, or a long cell is whole")
	}
	w.refuse = &server.Error{Status: 400, Detail: "Parser Error: syntax error at or near \"" + evil + "\"\n\nLINE 3: SELECT " + evil + "\n        ^", Hint: "mend " + evil}
	b.get(b.at.RequestURI())
	b.want(400, "/query?run=", "Line 3 is not right", "mend")
	none()
	b.get("/query?sql=" + strings.ReplaceAll("SELECT%20alert(1)", "+", "%20") + "&instance=" + "%3Cscript%3E")
	b.want(200, "/query", "alert(1)")
	b.get("/data/tables/acme/keboola/orders?profile=note")
	w.refuse = nil
	b.get("/data/tables/acme/keboola/orders?profile=note")
	b.want(200, "/data/tables/", "<b>5</b>", "17.0 %", "about 640", "Three quarters are below 402.75")
	none()
	b.get("/data/runs/acme/keboola/7")
	b.want(200, "/data/runs/", "export orders <script>alert(1)</script>")
	none()
	b.get("/data/runs/acme/keboola/7/log")
	if !strings.HasPrefix(b.head.Get("Content-Type"), "text/plain") || b.head.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("a log goes out as %v", b.head)
	}
}

// A link can fill the editor; only who wrote a query has it asked.
func TestLinksAskNothing(t *testing.T) {
	t.Parallel()
	town := newAcme(t)
	b := town.admin(t)
	b.get("/query?sql=SELECT+secret+FROM+t&do=run&limit=1000")
	b.want(200, "/query", "SELECT secret FROM t")
	b.get("/query")
	b.submit("/query", "Run", "sql", "SELECT 1")
	mine := b.at.RequestURI()
	asked := len(town.wells.asked)
	other := town.browser(t)
	other.signIn(adminEmail, adminPassword)
	other.get(mine)
	other.want(200, "/query", "not remembered any more")
	other.get(strings.Replace(mine, "/query", "/query/download", 1) + "&format=csv")
	other.want(200, "/query", "not remembered any more")
	if len(town.wells.asked) != asked || asked != 1 {
		t.Errorf("asked %v", town.wells.asked)
	}
}

func TestDataPages(t *testing.T) {
	t.Parallel()
	town := newAcme(t)
	b := town.admin(t)
	b.get("/data")
	b.want(200, "/data", "keboola", "shop", "orders", "3 tables", "Add a source")
	b.submit("/data", "Search", "q", "AMOUNT invoices")
	b.want(200, "/data?q=", "invoices")
	if strings.Contains(b.words(), "customers") {
		t.Error("the search finds what does not fit")
	}
	b.get("/data/tables/acme/keboola/nothing")
	b.want(404, "/data/tables/", "there is no table keboola.nothing")
	b.get("/data/tables/nowhere/keboola/orders")
	b.want(404, "/data/tables/")
	b.get("/data/sources/acme/keboola")
	b.want(200, "/data/sources/", "every 1h", "generation 2", "attached")
	b.submit("/run", "Run now")
	b.want(200, "/data/sources/", "run 42 is on its way")
	b.submit("/rollback", "Attach")
	b.want(200, "/data/sources/", "generation 2 of the data is attached")
	b.post("/data/sources/acme/keboola/rollback", "generation", "-1")
	b.want(422, "/data/sources/")
	town.wells.runs["acme/shop"] = []connectors.Record{{ID: 9, Source: "shop", Cause: connectors.CauseScheduled, Started: time.Now().Add(-time.Minute), Progress: map[string][2]int64{"invoices": {50, 200}, "other": {7, 0}}},
		{ID: 8, Source: "shop", Cause: connectors.CauseRetry, Correlation: "req-8", Started: time.Now().Add(-time.Hour), Ended: time.Now(), Outcome: connectors.Failed, Error: "connection refused", Hint: "start the database",
			Tables: []connectors.TableResult{{Table: "invoices", Outcome: connectors.Failed, Error: "connection <refused>"}}}}
	b.get("/data/runs")
	b.want(200, "/data/runs", "Running", "25%", "Failed", "connection <refused>", "OK")
	b.submit("/data/runs", "Show", "outcome", "failed")
	b.want(200, "/data/runs?", "connection <refused>")
	if strings.Contains(b.words(), "25%") {
		t.Error("the filter lets pass what runs")
	}
	b.get("/data/runs/acme/shop/8")
	b.want(200, "/data/runs/", "connection refused", "start the database", "for request req-8")
	b.get("/data/runs/acme/shop/77")
	b.want(404, "/data/runs/", "is not remembered any more")
}

// A grid shows the same whatever pieces the rows come in, and never more than a
// page can hold.
func TestGridInPieces(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var all []byte
		rows := rapid.IntRange(0, 40).Draw(t, "rows")
		for range rows {
			row, err := json.Marshal([]any{rapid.String().Draw(t, "text"), rapid.Int64().Draw(t, "number"), nil})
			if err != nil {
				t.Fatal(err)
			}
			all = append(append(all, row...), '\n')
		}
		whole, pieces := &grid{}, &grid{}
		_, _ = whole.Write(all)
		for rest := all; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			_, _ = pieces.Write(rest[:n])
			rest = rest[n:]
		}
		if fmt.Sprint(whole.Rows) != fmt.Sprint(pieces.Rows) || len(whole.Rows) != rows || whole.Left != 0 {
			t.Fatalf("%v\n%v", whole, pieces)
		}
	})
	g := &grid{}
	for range 40 {
		fmt.Fprintf(g, "[%q]\n", strings.Repeat("a", 60<<10))
	}
	if g.bytes > gridBytes || g.Left == 0 || len(g.Rows)+g.Left != 40 {
		t.Errorf("%d bytes, %d rows and %d left", g.bytes, len(g.Rows), g.Left)
	}
}

func FuzzGrid(f *testing.F) {
	f.Add([]byte(`["a",1,null,{"b":[2]},true]` + "\n" + `["c"]` + "\n"))
	f.Add([]byte("[\"\\ud800\"]\n[1e999]\n{}\n\n[]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		g := &grid{Columns: []gridColumn{{Name: "a", Kind: "num"}, {Name: "b", Kind: "num"}}}
		if n, err := g.Write(data); n != len(data) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		for _, row := range g.Rows {
			for _, c := range row {
				if len([]rune(c.Text)) > cellShort || len(c.All) > cellLength {
					t.Fatalf("a cell of %d and %d bytes", len(c.Text), len(c.All))
				}
			}
		}
		for _, kind := range []string{"bar", "line"} {
			if c, drawn := drawChart(g, chartChoice{kind, 0, 1}); drawn {
				checkChart(t, c)
			}
		}
	})
}

// checkChart finds coordinates outside of the plane, and what is no number.
func checkChart(t interface{ Fatalf(string, ...any) }, c *chart) {
	within := func(text string, most float64) {
		if v, err := strconv.ParseFloat(text, 64); err != nil || math.IsNaN(v) || v < -0.5 || v > most+0.5 {
			t.Fatalf("%q is outside of the plane of %v", text, most)
		}
	}
	for _, g := range c.Grid {
		within(g.Y, chartHeight)
	}
	for _, b := range slices.Concat(c.Bars, c.Dots) {
		within(b.X, chartWidth)
		within(b.Y, chartHeight)
	}
	for point := range strings.FieldsSeq(c.Line + " " + c.Area) {
		x, y, _ := strings.Cut(point, ",")
		within(x, chartWidth)
		within(y, chartHeight)
	}
	if n := len(c.Grid); n < 2 || n > 13 {
		t.Fatalf("%d lines of a grid", n)
	}
}

// Whatever the numbers are, the chart is within its plane.
func TestChart(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := &grid{Columns: []gridColumn{{Name: "when", Kind: "time"}, {Name: "n", Kind: "num"}}}
		for i := range rapid.IntRange(1, 60).Draw(t, "rows") {
			n := strconv.FormatFloat(rapid.Float64().Draw(t, "n"), 'g', -1, 64)
			g.Rows = append(g.Rows, []cell{{Text: fmt.Sprint(i)}, {Text: n}})
		}
		for _, kind := range []string{"bar", "line"} {
			if c, drawn := drawChart(g, chartChoice{kind, 0, 1}); drawn {
				checkChart(t, c)
			}
		}
	})
	for text, want := range map[[2]float64]string{{1500000, 500000}: "1.5M", {20000, 5000}: "20k", {0.25, 0.05}: "0.25", {-3, 1}: "-3", {1e-17, 0.1}: "0.0", {1000, 200}: "1k", {2e17, 1e17}: "2e+17"} {
		if got := shortNumber(text[0], text[1]); got != want {
			t.Errorf("%v is %q, want %q", text, got, want)
		}
	}
}

func TestChosenChart(t *testing.T) {
	t.Parallel()
	text, num, when := gridColumn{Kind: "text"}, gridColumn{Kind: "num"}, gridColumn{Kind: "time"}
	for name, c := range map[string]struct {
		columns []gridColumn
		rows    int
		want    string
	}{
		"bars by text": {[]gridColumn{num, text}, 5, "bar 1 0"}, "a line over time": {[]gridColumn{when, num, text}, 5, "line 0 1"}, "what comes first": {[]gridColumn{num, text, when}, 5, "bar 1 0"}, "numbers alone": {[]gridColumn{num, num}, 5, "bar 0 1"},
		"too many bars": {[]gridColumn{text, num}, 99, "line 0 1"}, "no number": {[]gridColumn{text, when}, 5, ""}, "one row": {[]gridColumn{text, num}, 1, ""}, "one column": {[]gridColumn{num}, 9, ""},
	} {
		got, ok := chooseChart(&grid{Columns: c.columns, Rows: make([][]cell, c.rows)})
		if said := fmt.Sprintf("%s %d %d", got.Kind, got.X, got.Y); ok != (c.want != "") || ok && said != c.want {
			t.Errorf("%s: %s, %t; want %s", name, said, ok, c.want)
		}
	}
	for _, bad := range []chartChoice{{"pie", 0, 1}, {"bar", -1, 1}, {"bar", 0, 0}, {"bar", 0, 2}, {"bar", 2, 1}} {
		if bad.fits(&grid{Columns: []gridColumn{text, num}}) {
			t.Errorf("%+v fits", bad)
		}
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"2026-11-23T09:12:07.5": "11-23 09:12", "2026-11-23 00:00:00": "2026-11-23", "2026-11-23": "2026-11-23", "a label that is long": "a label that i…", "ä": "ä"} {
		if got := cutLabel(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	for v, want := range map[float64]string{59281.26999999998: "59281.27", 0.1 + 0.2: "0.3", -3: "-3", 0: "0", 1e20: "1e+20", 2e-12: "2e-12", 1234567.5: "1234567.5"} {
		if got := plainNumber(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

// The rows of a download are objects in the order of the columns.
func TestRowsFile(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := &fileWriter{w: &out, json: true, columns: []connectors.Column{{Name: "z"}, {Name: `a"b`}}}
	for _, piece := range []string{`[1,`, `null]` + "\n[\"x", `",{"k":[2]}]` + "\n"} {
		if _, err := f.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	if want := `{"z":1,"a\"b":null}` + "\n" + `{"z":"x","a\"b":{"k":[2]}}` + "\n"; out.String() != want {
		t.Errorf("got %s, want %s", out.String(), want)
	}
}

// What is remembered of queries is bounded.
func TestAskedIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a := newAsked(func() time.Time { return now })
	for i := range askedSessions + 9 {
		now = now.Add(time.Second)
		a.add(fmt.Sprint(i), askedQuery{SQL: "SELECT 1"})
	}
	for j := range askedEach + 5 {
		a.add("many", askedQuery{SQL: fmt.Sprint(j)})
	}
	if len(a.sessions) > askedSessions || len(a.list("many")) != askedEach {
		t.Errorf("%d sessions", len(a.sessions))
	}
	for i := range 10 {
		a.add("big", askedQuery{SQL: strings.Repeat(fmt.Sprint(i), queryText)})
	}
	if n := size(a.list("big")); n > askedBytes {
		t.Errorf("%d bytes of one session", n)
	}
	id, n := a.add("big", askedQuery{SQL: "SELECT 1"}), len(a.list("big"))
	if again := a.add("big", askedQuery{SQL: "SELECT 1"}); again == id || len(a.list("big")) != n {
		t.Errorf("the same query is there %d times", len(a.list("big")))
	}
	now = now.Add(askedLife + time.Second)
	if a.list("big") != nil {
		t.Error("queries are remembered for ever")
	}
}

// Examples and links name tables as SQL takes them.
func TestQuoted(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"orders": "orders", "Orders": `"Orders"`, "order": `"order"`, `a"b`: `"a""b"`, "1a": `"1a"`, "": `""`, "select": `"select"`} {
		if got := quoted(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}
