//go:build cgo

package duck

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/connectors"
	"pgregory.net/rapid"
)

// fewer has properties tried less often than by default: each try is several
// builds. It is given back at the end of the test.
func fewer(t *testing.T, checks string) {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	was := f.Value.String()
	if was != "100" { // asked for on the command line
		return
	}
	if err := f.Value.Set(checks); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(was) }) // it was valid before
}

func shopColumns() []connectors.Column {
	return []connectors.Column{{Name: "id", Type: "BIGINT"}, {Name: "v", Type: "VARCHAR"}}
}

// TestIncrementalMergeIsThatOfAModel holds merges against a map: new rows replace
// old ones of their key, of several the last counts, null is a key like others.
func TestIncrementalMergeIsThatOfAModel(t *testing.T) {
	fewer(t, "15")
	rapid.Check(t, func(r *rapid.T) {
		model, now := map[string]string{}, made{}
		for run := range rapid.IntRange(1, 4).Draw(r, "runs") {
			n := rapid.IntRange(0, 40).Draw(r, "rows")
			format := rapid.SampledFrom([]string{"csv", "ndjson", "sliced"}).Draw(r, "format")
			if run == 0 {
				model = map[string]string{}
			}
			files := map[string]string{}
			for i := range n {
				key := rapid.SampledFrom([]string{"", "1", "2", "3", "4", "55", "666", "-7"}).Draw(r, "key")
				value := fmt.Sprintf("r%d.%d", run, i)
				name, line := "a.csv", key+","+value+"\n"
				if format == "ndjson" {
					name, line = "a.ndjson", fmt.Sprintf("{\"v\":%q,\"id\":%s}\n", value, nullOr(key))
				}
				if format == "sliced" {
					name = fmt.Sprintf("a/part-%05d.csv", i/7)
				}
				if files[name] == "" && format != "ndjson" {
					files[name] = "id,v\n"
				}
				files[name] += line
				if run == 0 { // all rows of a first run count, also two of a key
					key = fmt.Sprintf("%s#%d", key, i)
				}
				model[key] = value
			}
			if run == 0 {
				model = map[string]string{}
				for name := range files {
					delete(files, name)
				}
				n = 0
			}
			dir, err := os.MkdirTemp("", "merge-")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			put(t, dir, files)
			now = now.build(t, connectors.Publication{Dir: dir, Built: true, Tables: []connectors.TableResult{
				{Table: "a", Outcome: connectors.OK, Rows: int64(n), Columns: shopColumns(), PrimaryKey: []string{"id"}, Changes: run > 0}}}).good(t)
			if got, want := now.rows(t, "a"), modelRows(model); got != want {
				r.Fatalf("after run %d of %s:\n%s\nwant\n%s", run, format, got, want)
			}
		}
	})
}

func nullOr(key string) string {
	if key == "" {
		return "null"
	}
	return key
}

func modelRows(model map[string]string) string {
	var out []string
	for key, value := range model {
		if key == "" {
			key = "∅"
		}
		out = append(out, key+"|"+value)
	}
	slices.SortFunc(out, func(a, b string) int {
		var x, y int
		if _, err := fmt.Sscanf(a, "%d|", &x); err != nil {
			x = 1 << 30 // null is last
		}
		if _, err := fmt.Sscanf(b, "%d|", &y); err != nil {
			y = 1 << 30
		}
		return x - y
	})
	return strings.Join(out, "\n")
}

// TestPartsAreThoseOfAModel holds partitioned tables against a map of parts: those
// that were written replace their like, gone ones go, the others are the very same files.
func TestPartsAreThoseOfAModel(t *testing.T) {
	fewer(t, "15")
	rapid.Check(t, func(r *rapid.T) {
		all := []string{"2026-01", "2026-02", "2026-03", "x.y"}
		model, now := map[string]string{}, made{}
		for run := range rapid.IntRange(1, 4).Draw(r, "runs") {
			written := rapid.SliceOfDistinct(rapid.SampledFrom(all), rapid.ID[string]).Draw(r, "written")
			if run == 0 {
				written = all[:2]
			}
			gone := []string{}
			for _, part := range all {
				if run > 0 && !slices.Contains(written, part) && rapid.IntRange(0, 5).Draw(r, "gone") == 0 {
					gone = append(gone, part)
					delete(model, part)
				}
			}
			dir, err := os.MkdirTemp("", "parts-")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			for i, part := range written {
				value := fmt.Sprintf("r%d.%d", run, i)
				model[part] = value
				put(t, dir, map[string]string{"a/" + part + ".csv": "id,v\n" + fmt.Sprint(slices.Index(all, part)) + "," + value + "\n"})
			}
			result := connectors.TableResult{Table: "a", Outcome: connectors.OK, Rows: int64(len(written)), Columns: shopColumns(), Changes: run > 0, Gone: gone}
			if run > 0 {
				result.Parts = written
			}
			was := now
			now = now.build(t, connectors.Publication{Dir: dir, Built: true, Tables: []connectors.TableResult{result}}).good(t)
			want := []string{}
			for i, part := range all {
				if v, there := model[part]; there {
					want = append(want, fmt.Sprintf("%d|%s", i, v))
				}
			}
			if got := now.rows(t, "a"); got != strings.Join(want, "\n") {
				r.Fatalf("run %d wrote %v, gone %v:\n%s\nwant\n%s", run, written, gone, got, strings.Join(want, "\n"))
			}
			for _, part := range slices.Sorted(maps.Keys(model)) {
				if run > 0 && !slices.Contains(written, part) && !same(t, was, now, "data/a/"+part+".parquet") {
					r.Fatalf("part %s was written anew", part)
				}
			}
		}
	})
}

func same(t testing.TB, a, b made, path string) bool {
	t.Helper()
	x, errX := os.Stat(filepath.Join(a.dir, path))
	y, errY := os.Stat(filepath.Join(b.dir, path))
	return errX == nil && errY == nil && os.SameFile(x, y)
}

func built(dir string, tables ...connectors.TableResult) connectors.Publication {
	for i := range tables {
		tables[i].Outcome = connectors.OK
		if tables[i].Columns == nil {
			tables[i].Columns = shopColumns()
		}
	}
	return connectors.Publication{Dir: dir, Built: true, Tables: tables}
}

func TestChangedColumnsOfMerges(t *testing.T) {
	first := put(t, t.TempDir(), map[string]string{"a.csv": "id,v\n1,10\n2,20\n", "p/x.csv": "id,v\n1,10\n", "p/y.csv": "id,v\n2,20\n"})
	before := made{}.build(t, built(first, connectors.TableResult{Table: "a", Rows: 2}, connectors.TableResult{Table: "p", Rows: 2})).good(t)
	next := put(t, t.TempDir(), map[string]string{"a.csv": "id,v,w\n2,21,n\n", "p/y.csv": "id,v,w\n2,21,n\n"})
	columns := []connectors.Column{{Name: "id", Type: "BIGINT"}, {Name: "v", Type: "BIGINT"}, {Name: "w", Type: "VARCHAR"}}
	changes := []connectors.TableResult{{Table: "a", Rows: 1, Columns: columns, Changes: true, PrimaryKey: []string{"id"}}, {Table: "p", Rows: 1, Columns: columns, Changes: true, Parts: []string{"y"}}}
	now := before.build(t, built(next, changes...)).good(t)
	for _, name := range []string{"a", "p"} {
		got := now.table(t, name)
		if now.rows(t, name) != "1|10|∅\n2|21|n" || strings.Join(got.SchemaChanges, "; ") != "schema: column v was VARCHAR and is BIGINT; schema: column w is new (VARCHAR)" {
			t.Errorf("%s: %q\n%s", name, got.SchemaChanges, now.rows(t, name))
		}
	}
	for _, r := range now.reply.Tables { // so that the run tells of it
		if strings.Join(r.Warnings, "; ") != "schema: column v was VARCHAR and is BIGINT; schema: column w is new (VARCHAR)" {
			t.Errorf("%s: warnings %q", r.Table, r.Warnings)
		}
	}
	again := now.build(t, built(next, connectors.TableResult{Table: "a", Rows: 1, Columns: columns, Warnings: []string{"schema: said by the source"}}, connectors.TableResult{Table: "p", Rows: 1, Columns: columns})).good(t)
	for _, r := range again.reply.Tables {
		if said := strings.Join(r.Warnings, "; "); said != map[string]string{"a": "schema: said by the source"}[r.Table] {
			t.Errorf("%s: warnings %q", r.Table, said)
		}
	}
	first = put(t, t.TempDir(), map[string]string{"a.csv": "id,v\n1,ten\n2,20\n", "p/x.csv": "id,v\n1,ten\n", "p/y.csv": "id,v\n2,20\n"})
	before = made{}.build(t, built(first, connectors.TableResult{Table: "a", Rows: 2}, connectors.TableResult{Table: "p", Rows: 2})).good(t)
	if now := before.build(t, built(next, changes...)); codes(now.reply.Problems) != "BadType a, BadType p" || now.reply.Manifest != nil {
		t.Errorf("rows that do not fit: %+v", now.reply)
	}
}

// TestATableThatFailsKeepsWhatItHad is a partial run: what is good is new, what is
// not stays what it was, with the time of then.
func TestATableThatFailsKeepsWhatItHad(t *testing.T) {
	first := put(t, t.TempDir(), map[string]string{"good.csv": "id,v\n1,a\n", "bad.csv": "id,v\n1,a\n", "failed.csv": "id,v\n1,a\n", "gone.csv": "id,v\n1,a\n"})
	was := made{}.build(t, built(first, connectors.TableResult{Table: "good", Rows: 1}, connectors.TableResult{Table: "bad", Rows: 1}, connectors.TableResult{Table: "failed", Rows: 1}, connectors.TableResult{Table: "gone", Rows: 1})).good(t)
	next := put(t, t.TempDir(), map[string]string{"good.csv": "id,v\n2,b\n", "bad.csv": "id,v\nx,b\n", "failed.csv": "id,v\n9"})
	from := built(next, connectors.TableResult{Table: "good", Rows: 1}, connectors.TableResult{Table: "bad", Rows: 1})
	from.Tables = append(from.Tables, connectors.TableResult{Table: "failed", Outcome: connectors.Failed, Error: "the service said no", Hint: "ask again"})
	from.At = noon().AddDate(0, 0, 1)
	now := was.build(t, from)
	if codes(now.reply.Problems) != "BadValue bad.id" || !strings.Contains(now.reply.Problems[0].Found, `row 1: column id: "x" is no BIGINT`) || now.reply.Problems[0].File != "bad.csv" {
		t.Errorf("%+v", now.reply.Problems)
	}
	if now.rows(t, "good") != "2|b" || now.rows(t, "bad") != "1|a" || now.rows(t, "failed") != "1|a" || len(now.reply.Manifest.Tables) != 3 {
		t.Errorf("%+v", now.reply.Manifest.Tables)
	}
	if !now.table(t, "good").ExtractedAt.Equal(from.At) || !now.table(t, "bad").ExtractedAt.Equal(noon()) || !same(t, was, now, "data/bad.parquet") {
		t.Errorf("%+v", now.reply.Manifest.Tables)
	}
	outcomes := []string{}
	for _, r := range now.reply.Tables {
		outcomes = append(outcomes, r.Table+" "+string(r.Outcome)+" "+r.Error)
	}
	if strings.Join(outcomes, "; ") != `bad failed row 1: column id: "x" is no BIGINT; failed failed the service said no; good ok ` {
		t.Errorf("%q", outcomes)
	}
	only := was.build(t, connectors.Publication{Dir: next, Built: true, Only: []string{"good"}, Tables: from.Tables[:1]}).good(t)
	if only.rows(t, "good") != "2|b" || only.rows(t, "gone") != "1|a" || len(only.reply.Manifest.Tables) != 4 {
		t.Errorf("a run of one table: %+v", only.reply.Manifest.Tables)
	}
}

func TestChangesWithoutABase(t *testing.T) {
	dir := put(t, t.TempDir(), map[string]string{"a.csv": "id,v\n1,a\n", "p/x.csv": "id,v\n1,a\n"})
	tables := []connectors.TableResult{{Table: "a", Rows: 1, Changes: true, PrimaryKey: []string{"id"}}, {Table: "p", Rows: 1, Changes: true, Parts: []string{"x"}}}
	if m := (made{}).build(t, built(dir, tables...)); codes(m.reply.Problems) != "BaseLost a, BaseLost p" || m.reply.Manifest != nil {
		t.Errorf("%+v", m.reply)
	}
	from := built(dir, tables...)
	from.Tables[1].Outcome = connectors.Partial // a first run that ended early: its parts are good
	if m := (made{}).build(t, from); codes(m.reply.Problems) != "BaseLost a" || m.rows(t, "p") != "1|a" {
		t.Errorf("%+v", m.reply)
	}
	before := made{}.build(t, built(put(t, t.TempDir(), map[string]string{"a.csv": "id,v\n1,a\n"}), connectors.TableResult{Table: "a", Rows: 1})).good(t)
	before.reply.Manifest.Generation = 3
	from = built(dir, tables[:1]...)
	from.Base = 4
	if m := before.build(t, from); codes(m.reply.Problems) != "BaseLost a" {
		t.Errorf("%+v", m.reply)
	}
	from.Tables[0].PrimaryKey, from.Base = nil, 3
	if m := before.build(t, from); codes(m.reply.Problems) != "BadPrimaryKey a" {
		t.Errorf("%+v", m.reply)
	}
	none := connectors.TableResult{Table: "a", Changes: true, PrimaryKey: []string{"id"}}
	if m := before.build(t, built(t.TempDir(), none)).good(t); m.rows(t, "a") != "1|a" || !same(t, before, m, "data/a.parquet") {
		t.Errorf("%+v", m.reply)
	}
}

// TestIncrementalProgram is tier a or b: the first rows are all, later ones changes,
// and a column that is left out is null.
func TestIncrementalProgram(t *testing.T) {
	meta := `{"tables": {"a": {"strategy": "incremental", "primary_key": ["id"]}, "p": {"strategy": "partitioned"}}}`
	first := made{}.build(t, connectors.Publication{Dir: put(t, t.TempDir(), map[string]string{"_meta.json": meta, "a.ndjson": `{"id":"x1","n":1,"w":"w"}` + "\n" + `{"id":"x2","n":2}`, "p/a.csv": "id\nx\n", "p/b.csv": "id\ny\n"})}).good(t)
	second := first.build(t, connectors.Publication{Dir: put(t, t.TempDir(), map[string]string{"_meta.json": meta, "a.ndjson": `{"id":"x2","n":22}` + "\n" + `{"id":"3","n":3}`, "p/b.csv": "id\n7\n"})}).good(t)
	if second.rows(t, "a") != "3|3|∅\nx1|1|w\nx2|22|∅" || second.rows(t, "p") != "7\nx" {
		t.Errorf("%s\n%s", second.rows(t, "a"), second.rows(t, "p"))
	}
	complete := strings.Replace(meta, "}}}", `}}, "complete": ["a"]}`, 1)
	third := second.build(t, connectors.Publication{Dir: put(t, t.TempDir(), map[string]string{"_meta.json": complete, "_state.json": "{}", "a.ndjson": `{"id":"3","n":4}`, "p/b.csv": "id\n8\n"}),
		Tables: []connectors.TableResult{{Table: "a", Outcome: connectors.OK}, {Table: "p", Outcome: connectors.Failed, Error: "it is not whole"}}})
	if len(third.reply.Problems) > 0 || third.reply.Tables[1].Error != "it is not whole" || third.rows(t, "p") != "7\nx" || third.rows(t, "a") != "3|4|∅\nx1|1|w\nx2|22|∅" {
		t.Errorf("%+v\n%s", third.reply.Problems, third.rows(t, "a"))
	}
	for _, lost := range []string{`{"tables": {"a": {"primaryKey": ["id"]}}}`, `{"tables"`, `[]`} {
		m := third.build(t, connectors.Publication{Dir: put(t, t.TempDir(), map[string]string{"_meta.json": lost, "a.ndjson": `{"id":"3","n":4}`})})
		if codes(m.reply.Problems) != "BadMeta" || m.reply.Manifest != nil || len(m.reply.Tables) != 2 || m.reply.Tables[0].Outcome != connectors.Failed {
			t.Errorf("%s: %+v", lost, m.reply)
		}
	}
	if m := third.build(t, connectors.Publication{Dir: t.TempDir()}); codes(m.reply.Problems) != "Nothing" || m.reply.Manifest != nil {
		t.Errorf("a run that left nothing: %+v", m.reply)
	}
}
