package files

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
)

func spec(paths ...string) connectors.TableSpec {
	return connectors.TableSpec{Name: "t", Paths: paths}
}

func TestEveryFormatIsRead(t *testing.T) {
	parquet := "PAR1data" + string(parquetFooter()) + string([]byte{byte(len(parquetFooter())), 0, 0, 0}) + "PAR1"
	csv, want := "a;b\n1;x,y\n", "\"a\",\"b\"\n1,\"x,y\"\n"
	for _, c := range []struct {
		file, text, left, want string
		rows                   int64
	}{
		{"t.csv", csv, "t.csv", want, 1},
		{"t.csv.gz", gzipped(csv), "t.csv.gz", want, 1},
		{"t.csv.zip", zipped("dir/", "", "t.csv", csv), "t.csv.gz", want, 1},
		{"any.zip", zipped("t.tsv", "a\tb\n1\tx;y\n"), "t.csv.gz", "\"a\",\"b\"\n1,x;y\n", 1},
		{"not-said.dat", csv, "t.csv", want, 1},
		{"wrong.gz", csv, "t.csv", want, 1},
		{"t.tsv", "a;b\tb\n1\t2\n", "t.csv", "\"a;b\",\"b\"\n1,2\n", 1},
		{"t.json", "[{\"a\":1},\n{\"a\":2}]", "t.ndjson", "{\"a\":1}\n{\"a\":2}\n", 2},
		{"t.jsonl.gz", gzipped("{\"a\":1}\n"), "t.ndjson.gz", "{\"a\":1}\n", 1},
		{"sniffed", " {\"a\":1}\n{\"a\":1}\n", "t.ndjson", "{\"a\":1}\n{\"a\":1}\n", 2},
		{"t.parquet", parquet, "t.parquet", parquet, 42},
		{"sniffed", parquet, "t.parquet", parquet, 42},
		{"t.parquet.gz", gzipped(parquet), "t.parquet", parquet, 42},
	} {
		_, s := localSource(t, c.file, c.text)
		got, report := syncOf(t, s, nil, spec(c.file))
		if r := ok(t, report); r.Rows != c.rows || r.Bytes == 0 {
			t.Errorf("%s: %+v", c.file, r)
		}
		holds(t, got, map[string]string{c.left: c.want})
	}
	for file, c := range map[string][2]string{
		"cut.gz": {gzipped(csv)[:20], "gzip"}, "two.zip": {zipped("a.csv", csv, "b.csv", csv), "a zip of 2 files"}, "cut.zip": {zipped("a.csv", csv)[:40], "zip"},
		"cut.parquet": {parquet[:20], "does not end as one"}, "short.parquet": {"PAR1", "too short"}, "named.csv": {parquet, "holds Parquet"},
		"damaged.gz": {gzipped(csv)[:len(gzipped(csv))-8] + "12345678", "checksum"},
	} {
		_, s := localSource(t, file, c[0])
		got, report := syncOf(t, s, nil, spec(file))
		failedWith(t, report, c[1])
		holds(t, got, nil)
	}
}

func TestNothingOutsideOfTheDirectoryIsRead(t *testing.T) {
	dir, s := localSource(t, "in/real.csv", "a\n1\n")
	outside := t.TempDir()
	write(t, outside, "secret.csv", "a\nsecret\n")
	for from, to := range map[string]string{"out.csv": filepath.Join(outside, "secret.csv"), "dir": outside, "inside.csv": "in/real.csv"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.csv"), 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"out.csv": "leaves dir", "dir/secret.csv": "leaves dir", "*.csv": "", "pipe.csv": "is no file", "in": "is no file", "../x.csv": "not a path relative", "/etc/passwd": "not a path relative",
		"in/../in/real.csv": "not a path relative", "nowhere.csv": "no such file", "nowhere/*.csv": "no file matches", "ftp://x/y": "neither a path", "http://x/y": "neither a path",
	} {
		got, report := syncOf(t, s, nil, spec(path))
		failedWith(t, report, want)
		holds(t, got, nil)
		if path != "*.csv" && !strings.Contains(want, "path") && want != "is no file" && report.Tables[0].Hint == "" {
			t.Errorf("%s: no hint", path)
		}
	}
	got, report := syncOf(t, s, nil, spec("inside.csv"))
	ok(t, report)
	holds(t, got, map[string]string{"t.csv": "\"a\"\n1\n"})
	got, report = syncOf(t, s, nil, spec("**/*.csv", "in/*"))
	failedWith(t, report, "") // the links are among them: said, not skipped
	holds(t, got, nil)
}

func TestTheHostPermitsTheDirectory(t *testing.T) {
	no := func(string) error { return errors.New("not below /srv") }
	for _, settings := range []Settings{
		{FilesSource: desired.FilesSource{Dir: "/etc"}, AllowDir: no}, {FilesSource: desired.FilesSource{Dir: "/etc"}},
		{FilesSource: desired.FilesSource{Dir: "etc"}, AllowDir: anyDir}, {FilesSource: desired.FilesSource{Dir: "/srv/../etc"}, AllowDir: anyDir},
		{FilesSource: desired.FilesSource{Headers: map[string]string{"a b": "x"}}}, {FilesSource: desired.FilesSource{Headers: map[string]string{"Host": "x"}}},
		{FilesSource: desired.FilesSource{Headers: map[string]string{"Authorization": "x\r\ny"}}},
		{FilesSource: desired.FilesSource{S3: &desired.S3Access{AccessKey: "x"}}}, {FilesSource: desired.FilesSource{S3: &desired.S3Access{Endpoint: "http://minio:9000"}}},
		{FilesSource: desired.FilesSource{GS: &desired.GSAccess{Key: "{}"}}}, {FilesSource: desired.FilesSource{S3: &desired.S3Access{Region: "evil.com/"}}},
		{FilesSource: desired.FilesSource{Headers: map[string]string{"Authorization": "x"}}, Paths: []string{"https://a.test/x", "https://b.test/y"}},
	} {
		if _, err := New(settings); err == nil || !strings.HasPrefix(err.Error(), "check files settings: ") {
			t.Errorf("%+v: %v", settings.FilesSource, err)
		}
	}
	_, err := New(Settings{FilesSource: desired.FilesSource{Headers: map[string]string{"Authorization": "x"}}})
	if err != nil {
		t.Error(err)
	}
}

func TestFullTablesAreAllFilesInTheirOrder(t *testing.T) {
	_, s := localSource(t, "d/o-10.csv", "a,b\n10,x\n", "d/o-2.csv", "b,a\ny,2\n", "d/other.txt", "a,b\n0,0\n", "d/.o-1.csv", "junk")
	sp := spec("d/o-*.csv", "d/o-2.csv")
	got, report := syncOf(t, s, nil, sp)
	if r := ok(t, report); r.Rows != 2 || r.Changes || !slices.Equal(names(r.Columns), []string{"b", "a"}) || len(r.Warnings) > 0 {
		t.Errorf("came to %+v", r)
	}
	want := map[string]string{"t/part-00000.csv": "\"b\",\"a\"\ny,2\n", "t/part-00001.csv": "\"a\",\"b\"\n10,x\n"}
	holds(t, got, want)
	got, report = syncOf(t, s, report.State, sp) // all of it, each time
	ok(t, report)
	holds(t, got, want)
}

func TestColumnsThatDifferAreSaid(t *testing.T) {
	dir, s := localSource(t, "1.csv", "a,b\n1,2\n", "2.csv", "a,c\n1,3\n")
	sp := spec("*.csv")
	_, first := syncOf(t, s, nil, sp)
	r := ok(t, first)
	warned(t, r, "2.csv: the columns differ: it has no b and has c besides")
	if !slices.Equal(names(r.Columns), []string{"a", "b", "c"}) {
		t.Errorf("columns are %v", r.Columns)
	}
	sp.Options = map[string]string{"strict": "true"}
	got, report := syncOf(t, s, nil, sp)
	failedWith(t, report, "2.csv: the columns differ")
	holds(t, got, nil)
	sp.Options = nil
	sp.Types = map[string]string{"a": "BIGINT", "x": "DATE"}
	if err := os.Remove(filepath.Join(dir, "2.csv")); err != nil {
		t.Fatal(err)
	}
	_, report = syncOf(t, s, first.State, sp)
	r = ok(t, report)
	warned(t, r, "schema: column c is gone")
	warned(t, r, "types: no file has a column x")
	if r.Columns[0].Type != "BIGINT" {
		t.Errorf("columns are %v", r.Columns)
	}
}

func TestOnlyPartsThatChangedAreReadAgain(t *testing.T) {
	dir, s := localSource(t, "2026-01/o.csv", "a\n1\n", "2026-02/o.csv", "a\n2\n", "2026-03/o.csv", "a\n3\n")
	sp := spec("*/o.csv")
	sp.Strategy = connectors.Partitioned
	got, first := syncOf(t, s, nil, sp)
	if r := ok(t, first); r.Changes || len(r.Parts) > 0 || r.Rows != 3 {
		t.Errorf("came to %+v", r)
	}
	holds(t, got, map[string]string{"t/2026-01_o-": "\"a\"\n1\n", "t/2026-02_o-": "\"a\"\n2\n", "t/2026-03_o-": "\"a\"\n3\n"})

	got, second := syncOf(t, s, first.State, sp)
	if r := ok(t, second); !r.Changes || len(r.Parts)+len(r.Gone) > 0 {
		t.Errorf("nothing changed, and came to %+v", r)
	}
	holds(t, got, nil)

	write(t, dir, "2026-02/o.csv", "a\n22\n")
	if err := os.Remove(filepath.Join(dir, "2026-01/o.csv")); err != nil {
		t.Fatal(err)
	}
	got, third := syncOf(t, s, second.State, sp)
	r := ok(t, third)
	if !r.Changes || len(r.Parts) != 1 || !strings.HasPrefix(r.Parts[0], "2026-02_o-") || len(r.Gone) != 1 || !strings.HasPrefix(r.Gone[0], "2026-01_o-") {
		t.Errorf("came to %+v", r)
	}
	holds(t, got, map[string]string{"t/" + r.Parts[0] + ".csv": "\"a\"\n22\n"})

	sp.Options = map[string]string{"null": "NA"} // all are to be read in another way
	got, fourth := syncOf(t, s, third.State, sp)
	if r := ok(t, fourth); r.Changes || len(got) != 2 {
		t.Errorf("came to %+v", r)
	}
}

func TestIncrementalReadsNewFilesOldestFirst(t *testing.T) {
	dir, s := localSource(t, "b.csv", "id\n1\n")
	sp := spec("*.csv")
	sp.Strategy = connectors.Incremental
	_, report := syncOf(t, s, nil, sp)
	failedWith(t, report, "primaryKey")
	sp.PrimaryKey = []string{"id"}
	_, first := syncOf(t, s, nil, sp)
	if r := ok(t, first); r.Changes || r.PrimaryKey[0] != "id" {
		t.Errorf("came to %+v", r)
	}
	write(t, dir, "z.csv", "id\n2\n")
	write(t, dir, "a.csv", "id\n3\n")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "z.csv"), old, old); err != nil {
		t.Fatal(err)
	}
	got, second := syncOf(t, s, first.State, sp)
	if r := ok(t, second); !r.Changes || r.Rows != 2 || len(r.Parts) > 0 {
		t.Errorf("came to %+v", r)
	}
	holds(t, got, map[string]string{"t/part-00000.csv": "\"id\"\n2\n", "t/part-00001.csv": "\"id\"\n3\n"})
	got, third := syncOf(t, s, second.State, sp)
	if r := ok(t, third); !r.Changes || r.Rows != 0 {
		t.Errorf("came to %+v", r)
	}
	holds(t, got, nil)
}

// TestAFileThatFailsLeavesTheOthers: what is good comes, and the next run reads
// the one that failed.
func TestAFileThatFailsLeavesTheOthers(t *testing.T) {
	dir, s := localSource(t, "1.csv", "a,b\n1,2\n", "2.csv", "a,b\n1\n")
	full := spec("*.csv")
	got, report := syncOf(t, s, nil, full)
	failedWith(t, report, "2.csv: line 2: 1 fields instead of 2")
	holds(t, got, nil)

	sp := spec("*.csv")
	sp.Strategy = connectors.Partitioned
	got, first := syncOf(t, s, nil, sp)
	if r := first.Tables[0]; r.Outcome != connectors.Partial || !strings.Contains(r.Error, "1 of 2 files failed") || r.Hint == "" || len(got) != 1 {
		t.Errorf("came to %+v, %v", r, got)
	}
	write(t, dir, "2.csv", "a,b\n3,4\n")
	got, second := syncOf(t, s, first.State, sp)
	if r := ok(t, second); len(r.Parts) != 1 || !r.Changes || len(got) != 1 {
		t.Errorf("came to %+v, %v", r, got)
	}
	write(t, dir, "2.csv", "a,b\n5\n")
	sp.Options = map[string]string{"null": "-"} // everything anew: a part may not be lost
	got, third := syncOf(t, s, second.State, sp)
	failedWith(t, third, "2.csv: line 2")
	holds(t, got, nil)
	if string(third.State) != string(second.State) {
		t.Errorf("a table that failed has another state: %s", third.State)
	}
	sp.Options = map[string]string{"badRows": "skip"}
	_, fourth := syncOf(t, s, third.State, sp)
	if r := fourth.Tables[0]; r.Outcome != connectors.Partial || r.Rows != 1 {
		t.Errorf("came to %+v", r)
	}
	warned(t, fourth.Tables[0], "2.csv: 1 rows were left out; the first: line 2")
}

// TestAnotherStrategyLosesNoRows: what was read as a whole stays until all of it
// was read in the new way.
func TestAnotherStrategyLosesNoRows(t *testing.T) {
	dir, s := localSource(t, "1.csv", "a,b\n1,2\n", "2.csv", "a,b\n1,2\n")
	sp := spec("*.csv")
	_, first := syncOf(t, s, nil, sp)
	ok(t, first)
	write(t, dir, "2.csv", "a,b\n1\n")
	sp.Strategy = connectors.Partitioned
	got, second := syncOf(t, s, first.State, sp)
	failedWith(t, second, "2.csv: line 2")
	holds(t, got, nil)
	write(t, dir, "2.csv", "a,b\n3,4\n")
	got, third := syncOf(t, s, second.State, sp)
	if r := ok(t, third); r.Changes || r.Rows != 2 || len(got) != 2 {
		t.Errorf("came to %+v", r)
	}
}

func TestNoFileIsAnErrorUnlessItIsAllowed(t *testing.T) {
	dir, s := localSource(t, "a.csv", "a\n1\n")
	sp := spec("*.csv")
	sp.Strategy, sp.Options = connectors.Partitioned, map[string]string{"allowEmpty": "true"}
	_, first := syncOf(t, s, nil, sp)
	ok(t, first)
	if err := os.Remove(filepath.Join(dir, "a.csv")); err != nil {
		t.Fatal(err)
	}
	got, second := syncOf(t, s, first.State, sp)
	if r := ok(t, second); len(r.Gone) != 1 || len(got) != 0 || len(r.Columns) != 1 {
		t.Errorf("came to %+v", r)
	}
	sp.Options = nil
	_, third := syncOf(t, s, second.State, sp)
	failedWith(t, third, "no file matches")
	lost, report := syncOf(t, s, []byte("{"), spec("*.csv"))
	failedWith(t, report, "no file matches")
	warned(t, report.Tables[0], "could not be read")
	holds(t, lost, nil)
}

func TestAFileThatGrowsIsReadAnew(t *testing.T) {
	dir, _ := localSource(t, "a.csv", "a\n1\n")
	l := &local{dir, anyDir}
	var o object
	p, _ := parsePlace("a.csv")
	if err := l.list(t.Context(), p, func(found object) error { o = found; return nil }); err != nil {
		t.Fatal(err)
	}
	body, err := l.open(t.Context(), &o, 0)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "a.csv", "a\n1\n2\n")
	s := &stream{ctx: t.Context(), from: l, o: &o}
	s.use(body)
	block := make([]byte, 100)
	for err == nil {
		_, err = s.Read(block)
	}
	_ = s.Close()
	if !errors.Is(err, errChanged) {
		t.Errorf("reading ended with %v", err)
	}
	if _, err := l.open(t.Context(), &o, 0); !errors.Is(err, errChanged) {
		t.Errorf("opening came to %v", err)
	}
}

func TestDiscoverTellsColumns(t *testing.T) {
	long := "id;day;at;amount;zip;note\n" + strings.Repeat("1;2026-11-23;2026-11-23 10:00:00;1.5;01234;x\n", 3000)
	_, s := localSource(t, "a/orders.csv", long, "b/orders.csv.gz", gzipped("x\ntrue\n"), "ev.json", `[{"id":1,"on":"2026-01-01","tags":[1],"n":null},{"id":2.5}]`, "readme.md", "#", "z.csv.zip", zipped("z.csv", "a\n"))
	found, more, err := s.Discover(t.Context(), 10)
	if err != nil || more || len(found) != 4 {
		t.Fatalf("%+v, %t, %v", found, more, err)
	}
	var text []string
	for _, f := range found {
		one := f.Name + " " + f.ID
		for _, c := range f.Columns {
			one += " " + c.Name + ":" + c.Type
		}
		text = append(text, one)
	}
	want := []string{
		"orders a/orders.csv id:BIGINT day:DATE at:TIMESTAMP amount:DOUBLE zip:VARCHAR note:VARCHAR", "b_orders b/orders.csv.gz x:BOOLEAN",
		"ev ev.json id:DOUBLE on:DATE tags:JSON n:VARCHAR", "z z.csv.zip",
	}
	if !slices.Equal(text, want) {
		t.Errorf("found %q", text)
	}
	if found, more, err := s.Discover(t.Context(), 1); err != nil || !more || len(found) != 1 {
		t.Errorf("%+v, %t, %v", found, more, err)
	}
}

// TestALinkInTheWayOfDirIsAskedAbout: whoever may write below a permitted
// directory can put a link there, and dir may name it.
func TestALinkInTheWayOfDirIsAskedAbout(t *testing.T) {
	open, closed := realDir(t), realDir(t)
	for dir, text := range map[string]string{open: "a\n1\n", closed: "a\n2\n"} {
		if err := os.WriteFile(filepath.Join(dir, "a.csv"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(closed, filepath.Join(open, "out")), os.Symlink(open, filepath.Join(open, "in"))); err != nil {
		t.Fatal(err)
	}
	allow := func(dir string) error {
		if rel, err := filepath.Rel(open, dir); err != nil || !filepath.IsLocal(rel) {
			return errors.New("the host does not permit " + dir)
		}
		return nil
	}
	for dir, good := range map[string]bool{open: true, filepath.Join(open, "in"): true, filepath.Join(open, "out"): false} {
		for _, path := range []string{"a.csv", "*.csv"} {
			s, err := New(Settings{FilesSource: desired.FilesSource{Dir: dir}, AllowDir: allow})
			if err != nil {
				t.Fatal(err)
			}
			_, report := syncOf(t, s, nil, spec(path))
			if good {
				ok(t, report)
			} else {
				failedWith(t, report, "the host does not permit "+closed)
			}
		}
	}
}

func realDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
