//go:build cgo

package duck

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// extractOf writes an extract.duckdb as its author would, and files beside it.
func extractOf(t testing.TB, statements ...string) string {
	t.Helper()
	dir := t.TempDir()
	all := []string{"ATTACH " + quoteText(filepath.Join(dir, "extract.duckdb")) + " AS x (STORAGE_VERSION 'v1.2.0')", "USE x",
		"CREATE SCHEMA memory.s", "CREATE TABLE memory.s.t (a INTEGER)", metaColumns}
	sql(t, append(append(all, statements...), "USE memory", "DETACH x")...)
	return dir
}

func row(name, mode string) string {
	return "INSERT INTO _meta VALUES (" + quoteText(name) + ", 'about', NULL, NULL, TIMESTAMP '2026-01-01', '" + mode + "')"
}

// checked checks a directory or a file, within a time that no check needs.
func checked(t testing.TB, path string, most int64) wire.CheckReply {
	t.Helper()
	done := make(chan wire.CheckReply, 1)
	go func() {
		done <- RunCheck(t.Context(), wire.CheckRequest{Path: path, Limits: wire.BuildLimits{TempDir: t.TempDir(), MaxBytes: most, MaxTables: 200, Threads: 2, Memory: "512MB"},
			Remote: wire.RemotePolicy{Extensions: []string{"postgres", "bigquery"}, Tokens: []string{"PG_TOKEN"}, Hosts: []string{"db.acme.com", "*.pg.net"}}})
	}()
	select {
	case reply := <-done:
		return reply
	case <-time.After(time.Minute):
		t.Fatal("the check hangs")
	}
	return wire.CheckReply{}
}

// damage does something to an extract.duckdb.
type damage func(t *testing.T, path string)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// overwritten has bytes at places of the file overwritten.
func overwritten(with []byte, places ...int64) damage {
	return func(t *testing.T, path string) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		defer f.Close()
		for _, at := range places {
			_, err := f.WriteAt(with, at)
			must(t, err)
		}
	}
}

// holding has another content, in the file or beside it.
func holding(content, suffix string) damage {
	return func(t *testing.T, path string) { must(t, os.WriteFile(path+suffix, []byte(content), 0o644)) }
}

func sized(size func(was int64) int64) damage {
	return func(t *testing.T, path string) {
		info, err := os.Stat(path)
		must(t, err)
		must(t, os.Truncate(path, size(info.Size())))
	}
}

// instead puts something else where the file was.
func instead(f func(path string) error) damage {
	return func(t *testing.T, path string) {
		must(t, os.Rename(path, path+".real"))
		must(t, f(path))
	}
}

func linkedTo(target string) damage {
	return instead(func(path string) error {
		if target == "" {
			target = path + ".real"
		}
		return os.Symlink(target, path)
	})
}

func version(n uint64) damage { return overwritten(binary.LittleEndian.AppendUint64(nil, n), 12) }

// faults are those of duckdb.md, Faults, and more.
func faults() []struct {
	name   string
	damage damage
	codes  string
	tables int
} {
	blocks := []int64{}
	for at := int64(1<<20 + 5000); at < 5<<19; at += 256 << 10 {
		blocks = append(blocks, at)
	}
	to := func(n int64) func(int64) int64 { return func(int64) int64 { return n } }
	return []struct {
		name   string
		damage damage
		codes  string
		tables int
	}{
		{"whole", func(*testing.T, string) {}, "", 2},
		{"zeros", holding(strings.Repeat("\x00", 9000), ""), "NotADatabase", 0},
		{"csv", holding("a,b\n1,2\n3,4\n5,6\n7,8\n", ""), "NotADatabase", 0},
		{"empty", holding("", ""), "NotADatabase", 0},
		{"sqlite", holding("SQLite format 3\x00"+strings.Repeat("\x01", 4000), ""), "NotADatabase", 0},
		{"parquet", holding("PAR1"+strings.Repeat("x", 100)+"PAR1", ""), "NotADatabase", 0},
		{"sparse zeros", func(t *testing.T, p string) { holding("", "")(t, p); sized(to(30<<30))(t, p) }, "NotADatabase", 0},
		{"sparse zeros of 50 GB", func(t *testing.T, p string) { holding("", "")(t, p); sized(to(50<<30))(t, p) }, "TooLarge", 0},
		{"sparse tail of 50 GB", sized(to(50 << 30)), "TooLarge", 0},
		{"sparse tail that is allowed", sized(func(n int64) int64 { return n + 1<<30 }), "", 2},
		{"last 1000 bytes cut", sized(func(n int64) int64 { return n - 1000 }), "Damaged", 0},
		{"cut inside the header", sized(to(4000)), "Damaged", 0},
		{"cut to 12 KB", sized(to(12 << 10)), "Damaged", 0},
		{"cut to half", sized(func(n int64) int64 { return n / 2 }), "Damaged", 0},
		{"header flipped", overwritten([]byte{0xff, 0xee}, 4200), "Damaged", 0},
		{"block flipped", overwritten([]byte{0xde, 0xad, 0xbe, 0xef}, blocks...), "Damaged big", 1},
		{"storage of 2.0", version(999), "StorageVersionUnsupported", 0},
		{"storage 69", version(69), "StorageVersionUnsupported", 0},
		{"storage 63", version(63), "StorageVersionUnsupported", 0},
		{"log beside it", holding("x", ".wal"), "UncleanExtract", 0},
		{"empty log beside it", holding("", ".wal"), "UncleanExtract", 0},
		{"directory", instead(func(p string) error { return os.Mkdir(p, 0o755) }), "NotARegularFile", 0},
		{"link to a good file", linkedTo(""), "NotARegularFile", 0},
		{"link to nothing", linkedTo("/nonexistent"), "NotARegularFile", 0},
		{"link to /dev/zero", linkedTo("/dev/zero"), "NotARegularFile", 0},
		{"link to /etc/passwd", linkedTo("/etc/passwd"), "NotARegularFile", 0},
		{"pipe", instead(func(p string) error { return syscall.Mkfifo(p, 0o644) }), "NotARegularFile", 0},
	}
}

// TestFilesThatAreNoGoodExtract has each fault be a problem with a code; none
// hangs or ends the process.
func TestFilesThatAreNoGoodExtract(t *testing.T) {
	for _, c := range faults() {
		t.Run(c.name, func(t *testing.T) {
			dir := extractOf(t, "CREATE TABLE big AS SELECT i, md5(i::VARCHAR) AS s, random() AS r FROM range(120000) t(i)", "CREATE TABLE small AS SELECT 1 AS a", row("big", "local"), row("small", "local"))
			path := filepath.Join(dir, "extract.duckdb")
			c.damage(t, path)
			for _, what := range []string{dir, path} {
				if what == path && c.name == "directory" {
					continue // a directory that is named is one to look into
				}
				reply := checked(t, what, 40<<30)
				if reply.Error != "" || codes(reply.Problems) != c.codes || len(reply.Tables) != c.tables {
					t.Errorf("%s: %q %+v, %d tables", what, reply.Error, reply.Problems, len(reply.Tables))
				}
				for _, p := range reply.Problems {
					if p.Found == "" || p.Hint == "" || strings.Contains(p.Found, dir) {
						t.Errorf("problem %+v", p)
					}
				}
			}
		})
	}
}

// TestHostileExtracts has authors who want more than to leave tables. Nothing of
// theirs is run: what they write comes to nothing, and the rest is read.
func TestHostileExtracts(t *testing.T) {
	many := []string{"CREATE TABLE a AS SELECT 1 AS a", row("a", "local")}
	for _, c := range []struct {
		name   string
		author []string
		codes  string
		tables string
	}{
		{"view over enable_logging", []string{"CREATE VIEW v AS SELECT * FROM enable_logging()", row("v", "local")}, "Missing v", "good"},
		{"view over read_text", []string{"CREATE VIEW v AS SELECT * FROM read_text('/etc/passwd')", row("v", "materialized")}, "Missing v", "good"},
		{"view that takes all memory", []string{"CREATE VIEW v AS SELECT repeat('x', i) AS s FROM range(4000000000, 4000000001) t(i)", row("v", "local")}, "Missing v", "good"},
		{"remote view over read_text", []string{"CREATE VIEW v AS SELECT * FROM read_text('/etc/passwd')", row("v", "remote")}, "BadView v", "good"},
		{"remote view with more", []string{"CREATE VIEW v AS SELECT * FROM memory.s.t WHERE a > 1", row("v", "remote")}, "BadView v", "good"},
		{"remote view with columns", []string{"CREATE VIEW v AS SELECT a FROM memory.s.t", row("v", "remote")}, "BadView v", "good"},
		{"remote view with other names", []string{"CREATE VIEW v(b) AS SELECT * FROM memory.s.t", row("v", "remote")}, "BadView v", "good"},
		{"remote view of what is not attached", []string{"CREATE VIEW v AS SELECT * FROM memory.s.t", row("v", "remote")}, "BadView v", "good"},
		{"table that is said to be remote", []string{"CREATE TABLE v AS SELECT 1 AS a", row("v", "remote")}, "BadQueryMode v", "good"},
		{"other mode", []string{"CREATE TABLE v AS SELECT 1 AS a", row("v", "LOCAL")}, "BadQueryMode v", "good"},
		{"generated column", []string{"CREATE TABLE v (a INTEGER, b VARCHAR AS (repeat('x', a)))", row("v", "local")}, "BadView v", "good"},
		{"macro with the name of a table", []string{"CREATE MACRO v() AS TABLE SELECT * FROM read_text('/etc/passwd')", row("v", "local")}, "Missing v", "good"},
		{"macros with the names of functions", []string{"CREATE MACRO hash(a) AS error('run')", "CREATE MACRO count(a) AS error('run')", "CREATE MACRO epoch_ms(a) AS error('run')"}, "", "good"},
		{"view with the name of a catalog", []string{"CREATE SCHEMA information_schema2", "CREATE VIEW duckdb_tables AS SELECT 1 AS table_name", "CREATE VIEW pragma_table_info AS SELECT 1 AS name"}, "", "good"},
		{"name with quotes", []string{`CREATE TABLE "a""; DROP TABLE good; --" AS SELECT 1 AS a`, row(`a"; DROP TABLE good; --`, "local")}, `BadName a"; DROP TABLE good; --`, "good"},
		{"name that leads out", []string{row("../../etc/passwd", "local")}, "BadName ../../etc/passwd", "good"},
		{"name of the contract", []string{row("_meta", "local")}, "BadName _meta", "good"},
		{"names that are one to SQL", []string{"CREATE TABLE one AS SELECT 1 AS a", row("one", "local"), row("ONE", "local")}, "Duplicate ONE", "good one"},
		{"name twice", []string{"CREATE TABLE one AS SELECT 1 AS a", row("one", "local"), row("one", "local")}, "Duplicate one, Duplicate one", "good"},
		{"no such table", []string{row("gone", "local")}, "Missing gone", "good"},
		{"untrue number of rows", []string{"CREATE TABLE v AS SELECT 1 AS a", "INSERT INTO _meta VALUES ('v', '', 7, 0, now(), 'local')"}, "RowCount v", "good v"},
		{"remote of another host", append([]string{"CREATE TABLE _remote_attach (alias VARCHAR, extension VARCHAR, url VARCHAR, token_env VARCHAR)"}, "INSERT INTO _remote_attach VALUES ('pg', 'postgres', 'host=evil.com dbname=x', 'PG_TOKEN')"), "RemoteNotAllowed pg", "good"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := extractOf(t, append([]string{"CREATE TABLE good AS SELECT 1 AS a", row("good", "local")}, c.author...)...)
			reply := checked(t, dir, 0)
			names := []string{}
			for _, m := range reply.Tables {
				names = append(names, m.Name)
			}
			if reply.Error != "" || codes(reply.Problems) != c.codes || strings.Join(names, " ") != c.tables {
				t.Errorf("%q, %+v, tables %v", reply.Error, reply.Problems, names)
			}
			m := made{}.build(t, connectors.Publication{Dir: dir})
			if m.rows(t, "good") != "1" {
				t.Errorf("the good table is %s", m.rows(t, "good"))
			}
		})
	}
	t.Run("ten thousand tables", func(t *testing.T) {
		dir := extractOf(t, append(many, "INSERT INTO _meta SELECT 't' || i, '', NULL, NULL, NULL, 'local' FROM range(10000) t(i)")...)
		if reply := checked(t, dir, 0); codes(reply.Problems) != "TooMany" || len(reply.Tables) > 0 {
			t.Errorf("%+v", reply)
		}
	})
	t.Run("a _meta that is a view, lacks a column or has another type", func(t *testing.T) {
		for _, author := range [][]string{
			{"DROP TABLE _meta", "CREATE VIEW _meta AS SELECT 'a' AS table_name"},
			{"ALTER TABLE _meta DROP query_mode"}, {"ALTER TABLE _meta ALTER rows TYPE VARCHAR"}, {"DROP TABLE _meta"},
			{"DROP TABLE _meta", strings.Replace(metaColumns, "query_mode VARCHAR DEFAULT 'local'", "q VARCHAR, query_mode VARCHAR AS (repeat(q, 9))", 1)},
		} {
			if reply := checked(t, extractOf(t, append(many, author...)...), 0); codes(reply.Problems) != "BadMeta" {
				t.Errorf("%v: %+v", author, reply)
			}
		}
	})
}

func TestViewsAreReadFromTheirFiles(t *testing.T) {
	dir := extractOf(t, "CREATE VIEW one AS SELECT 'not this' AS x", "CREATE VIEW parts AS SELECT 'nor this' AS x", "CREATE VIEW linked AS SELECT 1 AS x", row("one", "local"), row("parts", "local"), row("linked", "local"))
	if err := os.MkdirAll(filepath.Join(dir, "data", "parts"), 0o755); err != nil {
		t.Fatal(err)
	}
	sql(t, "COPY (SELECT 1 AS a) TO "+quoteText(dir+"/data/one.parquet"), "COPY (SELECT 2 AS a) TO "+quoteText(dir+"/data/parts/a.parquet"), "COPY (SELECT 3 AS a, 'b' AS b) TO "+quoteText(dir+"/data/parts/b.parquet"),
		"COPY (SELECT 4 AS a) TO "+quoteText(dir+"/secret"))
	if err := os.Symlink(dir+"/secret", dir+"/data/linked.parquet"); err != nil {
		t.Fatal(err)
	}
	m := made{}.build(t, connectors.Publication{Dir: dir})
	if codes(m.reply.Problems) != "NotARegularFile linked" || m.rows(t, "one") != "1" || m.rows(t, "parts") != "2|∅\n3|b" {
		t.Errorf("%+v\n%s\n%s", m.reply.Problems, m.rows(t, "one"), m.rows(t, "parts"))
	}
	if got := m.table(t, "parts"); len(got.Files) != 2 || !got.ExtractedAt.Equal(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("parts: %+v", got)
	}
}

func TestRemoteTablesOfAnExtract(t *testing.T) {
	dir := extractOf(t, "ATTACH ':memory:' AS pg", `CREATE SCHEMA pg."data set"`, `CREATE TABLE pg."data set"."t""x" (a INTEGER)`, `CREATE VIEW orders AS SELECT * FROM pg."data set"."t""x"`, row("orders", "remote"),
		"CREATE TABLE _remote_attach (alias VARCHAR, extension VARCHAR, url VARCHAR, token_env VARCHAR)", "INSERT INTO _remote_attach VALUES ('pg', 'postgres', 'host=db.acme.com dbname=shop user=reader', 'PG_TOKEN')")
	m := made{}.build(t, connectors.Publication{Dir: dir}).good(t)
	got := m.table(t, "orders")
	if got.Remote == nil || *got.Remote != (connectors.RemoteTable{Alias: "pg", Schema: "data set", Table: `t"x`}) || len(m.reply.Manifest.Remotes) != 1 || m.reply.Manifest.Remotes[0].TokenEnv != "PG_TOKEN" {
		t.Fatalf("%+v %+v", got, m.reply.Manifest.Remotes)
	}
	again := made{}.build(t, connectors.Publication{Dir: m.dir}).good(t)
	if r := again.table(t, "orders").Remote; r == nil || *r != *got.Remote {
		t.Errorf("our own extract gives %+v", r)
	}
}

func TestAnExtractThatIsStillOpenIsLocked(t *testing.T) {
	dir := extractOf(t, "CREATE TABLE a AS SELECT 1 AS a", row("a", "local"))
	hold := startHelper(t, helperHold, filepath.Join(dir, "extract.duckdb"))
	if reply := checked(t, dir, 0); codes(reply.Problems) != "Locked" && codes(reply.Problems) != "UncleanExtract" {
		t.Errorf("%+v", reply.Problems)
	}
	hold.end(t)
	if reply := checked(t, dir, 0); len(reply.Problems) > 0 || len(reply.Tables) != 1 {
		t.Errorf("%+v", reply)
	}
}
