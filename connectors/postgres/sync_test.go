package postgres

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
)

func sync_(t testing.TB, s *Source, state json.RawMessage, specs ...connectors.TableSpec) (string, connectors.Report, error) {
	t.Helper()
	dir := t.TempDir()
	report, err := s.Sync(t.Context(), connectors.Job{Dir: dir, Tables: specs, State: state, Now: time.Now()})
	clean(t, string(report.State), fmt.Sprint(err))
	for _, r := range report.Tables {
		clean(t, r.Error, r.Hint, strings.Join(r.Warnings, " "))
		if r.Outcome == connectors.Failed {
			for _, left := range []string{r.Table, r.Table + ".csv.gz"} {
				if _, err := os.Lstat(filepath.Join(dir, left)); err == nil {
					t.Errorf("table %s failed and left %s", r.Table, left)
				}
			}
		}
	}
	return dir, report, err
}

func clean(t testing.TB, texts ...string) {
	t.Helper()
	for _, text := range texts {
		for _, secret := range []string{password, url.QueryEscape(password), url.PathEscape(password), "ss/w:rd"} {
			if strings.Contains(text, secret) {
				t.Errorf("the password is in %q", text)
			}
		}
	}
}

func content(t testing.TB, dir, file string) string {
	t.Helper()
	in, err := os.Open(filepath.Join(dir, file+".csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	zip, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// one runs a table alone that has to be good.
func one(t testing.TB, s *Source, state json.RawMessage, spec connectors.TableSpec) (string, connectors.TableResult, json.RawMessage) {
	t.Helper()
	dir, report, err := sync_(t, s, state, spec)
	if err != nil || report.Tables[0].Outcome != connectors.OK {
		t.Fatalf("came to %+v, %v", report.Tables, err)
	}
	return dir, report.Tables[0], report.State
}

const orders = `CREATE TABLE orders (id int8 PRIMARY KEY, amount numeric(12,2), note text, updated_at timestamptz);
	INSERT INTO orders VALUES (1, 10.50, 'a', '2026-01-01 10:00+00'), (2, 2, E'two\nlines, "quoted"', '2026-01-15 10:00+00'), (3, NULL, '', '2026-02-01 00:00+00'), (4, NULL, NULL, NULL);
	COMMENT ON TABLE orders IS 'what was sold'`

func TestTablesAreCopiedWholeWithTypes(t *testing.T) {
	pg := running(t)
	pg.shop(t)(orders)
	s := source(t, pg.settings(pg.port, ""))
	dir, got, _ := one(t, s, nil, connectors.TableSpec{Name: "sold", ID: "public.orders", Columns: []string{"id", "amount", "note"}})
	want := []connectors.Column{{Name: "id", Type: "BIGINT"}, {Name: "amount", Type: "DECIMAL(12,2)"}, {Name: "note", Type: "VARCHAR"}}
	if got.Rows != 4 || got.Bytes == 0 || got.Changes || !reflect.DeepEqual(got.Columns, want) || !slices.Equal(got.PrimaryKey, []string{"id"}) || got.Description != "what was sold" {
		t.Errorf("came to %+v", got)
	}
	if text := content(t, dir, "sold"); text != "id,amount,note\n1,10.50,a\n2,2.00,\"two\nlines, \"\"quoted\"\"\"\n3,,\"\"\n4,,\n" {
		t.Errorf("the file is %q", text)
	}
}

func TestEveryKindOfTableIsDiscoveredAndRead(t *testing.T) {
	pg := running(t)
	exec := pg.shop(t)
	exec(orders + `;
		CREATE VIEW big AS SELECT * FROM orders WHERE amount > 5;
		CREATE MATERIALIZED VIEW sums AS SELECT count(*) AS n FROM orders;
		CREATE TABLE parted (day date, v int) PARTITION BY RANGE (day);
		CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
		CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
		INSERT INTO parted SELECT '2026-01-01'::date + i % 50, i FROM generate_series(1, 1000) i;
		CREATE DOMAIN cents AS numeric(9,2); CREATE DOMAIN price AS cents;
		CREATE TABLE "Odd.Name""s" (a price, "B c" price[], secret text);
		REVOKE ALL ON "Odd.Name""s" FROM reader; GRANT SELECT (a, "B c") ON "Odd.Name""s" TO reader;
		CREATE TABLE hidden (a int); REVOKE ALL ON hidden FROM reader;
		CREATE SCHEMA other; CREATE TABLE other.orders (id int); GRANT SELECT ON other.orders TO reader;
		ANALYZE`)
	s := source(t, pg.settings(pg.port, ""))
	found, more, err := s.Discover(t.Context(), 100)
	if err != nil || more {
		t.Fatal(err, more)
	}
	var ids []string
	by := map[string]connectors.Discovered{}
	for _, d := range found {
		ids, by[d.ID] = append(ids, d.ID+" "+d.Name), d
	}
	if want := []string{`public."Odd.Name""s" Odd_Name_s`, "public.big big", "public.orders orders", "public.parted parted", "public.sums sums"}; !slices.Equal(ids, want) {
		t.Fatalf("found %q", ids)
	}
	exec(`GRANT USAGE ON SCHEMA other TO reader`)
	if found, more, err := s.Discover(t.Context(), 1); err != nil || !more || len(found) != 1 || found[0].ID != "other.orders" {
		t.Errorf("found %+v, %v, %v", found, more, err)
	}
	if d := by["public.parted"]; d.Rows == nil || *d.Rows != 1000 || d.Bytes == nil || *d.Bytes == 0 {
		t.Errorf("a partitioned table has %+v", d)
	}
	if d := by["public.big"]; d.Rows != nil || len(d.Columns) != 4 {
		t.Errorf("a view has %+v", d)
	}
	if got := by[`public."Odd.Name""s"`].Columns; !reflect.DeepEqual(got, []connectors.Column{{Name: "a", Type: "DECIMAL(9,2)"}, {Name: "B c", Type: "JSON"}}) {
		t.Errorf("domains have %+v", got)
	}
	if d := by["public.orders"]; d.Description != "what was sold" || !slices.Equal(d.PrimaryKey, []string{"id"}) {
		t.Errorf("a table has %+v", d)
	}
	for id, rows := range map[string]int64{"public.parted": 1000, "public.big": 1, "sums": 1, "other.orders": 0, `public."Odd.Name""s"`: 0} {
		_, got, _ := one(t, s, nil, connectors.TableSpec{Name: "x", ID: id})
		if got.Rows != rows {
			t.Errorf("%s has %d rows", id, got.Rows)
		}
		if warned := strings.Contains(strings.Join(got.Warnings, ""), "left out: secret"); warned != strings.Contains(id, "Odd") {
			t.Errorf("%s warns %q", id, got.Warnings)
		}
	}
}

func TestOnlyWhatIsNewComesTheSecondTime(t *testing.T) {
	pg := running(t)
	exec := pg.shop(t)
	exec(orders)
	s := source(t, pg.settings(pg.port, ""))
	spec := connectors.TableSpec{Name: "orders", ID: "public.orders", Strategy: connectors.Incremental, Columns: []string{"id", "updated_at"}, Options: map[string]string{"cursor": "updated_at", "overlap": "24h"}}
	_, first, state := one(t, s, nil, spec)
	if first.Changes || first.Rows != 4 {
		t.Fatalf("the first run came to %+v", first)
	}
	exec(`INSERT INTO orders VALUES (5, 1, 'late', '2026-01-31 12:00+00'), (6, 1, 'new', '2026-03-01 00:00+00')`)
	dir, second, state := one(t, s, state, spec)
	if want := "id,updated_at\n3,2026-02-01 00:00:00+00\n4,\n5,2026-01-31 12:00:00+00\n6,2026-03-01 00:00:00+00\n"; !second.Changes || content(t, dir, "orders") != want {
		t.Errorf("the second run came to %+v: %q", second, content(t, dir, "orders"))
	}
	exec(`DELETE FROM orders WHERE id > 1`)
	_, third, state := one(t, s, state, spec)
	if third.Changes || third.Rows != 1 || !strings.Contains(strings.Join(third.Warnings, ""), "less than it was") {
		t.Errorf("after a reload came %+v", third)
	}
	exec(`INSERT INTO orders VALUES (7, 1, 'x', '2026-05-01'); ALTER TABLE orders ALTER updated_at TYPE timestamp`)
	_, fourth, state := one(t, s, state, spec)
	if fourth.Changes || fourth.Rows != 2 {
		t.Errorf("after a change of type came %+v", fourth)
	}
	spec.Options = map[string]string{"cursor": "id", "overlap": "0"}
	_, fifth, state := one(t, s, state, spec)
	exec(`INSERT INTO orders VALUES (8, 1, 'x', '2026-05-01')`)
	dir, sixth, _ := one(t, s, state, spec)
	if fifth.Changes || !sixth.Changes || content(t, dir, "orders") != "id,updated_at\n7,2026-05-01 00:00:00\n8,2026-05-01 00:00:00\n" {
		t.Errorf("by id came %+v, then %+v", fifth, sixth)
	}
}

func TestWithoutAKeyTheWholeTableComes(t *testing.T) {
	pg := running(t)
	pg.shop(t)(`CREATE TABLE log (at timestamptz, v int); INSERT INTO log VALUES (now(), 1)`)
	s := source(t, pg.settings(pg.port, ""))
	spec := connectors.TableSpec{Name: "log", ID: "public.log", Strategy: connectors.Incremental, Options: map[string]string{"cursor": "at"}}
	_, _, state := one(t, s, nil, spec)
	if _, again, _ := one(t, s, state, spec); again.Changes || !strings.Contains(strings.Join(again.Warnings, ""), "no primary key") {
		t.Errorf("came to %+v", again)
	}
	if _, lost, _ := one(t, s, json.RawMessage(`{"version":7}`), spec); lost.Changes || !strings.Contains(strings.Join(lost.Warnings, ""), "could not be read") {
		t.Errorf("came to %+v", lost)
	}
}

func TestOnlyPartsThatChangedComeAgain(t *testing.T) {
	for name, cursor := range map[string]string{"by rows": "", "by cursor": "updated_at"} {
		t.Run(name, func(t *testing.T) {
			pg := running(t)
			exec := pg.shop(t)
			exec(`CREATE TABLE events (id int PRIMARY KEY, at timestamptz, v text, updated_at timestamptz DEFAULT now());
				INSERT INTO events SELECT i, '2026-01-01 00:00+00'::timestamptz + i * interval '12 hours', 'v' FROM generate_series(0, 199) i;
				INSERT INTO events VALUES (900, NULL, 'none'), (901, 'infinity', 'endless'), (902, '0044-03-15 12:00+00 BC', 'old')`)
			s := source(t, pg.settings(pg.port, ""))
			spec := connectors.TableSpec{Name: "events", ID: "public.events", Strategy: connectors.Partitioned, Options: map[string]string{"partition": "at"}}
			if cursor != "" {
				spec.Options["cursor"] = cursor
			}
			dir, first, state := one(t, s, nil, spec)
			if first.Changes || len(first.Parts) > 0 || first.Rows != 203 {
				t.Fatalf("the first run came to %+v", first)
			}
			left, _ := os.ReadDir(filepath.Join(dir, "events"))
			if len(left) != 5 || left[4].Name() != "other.csv.gz" || strings.Count(content(t, dir, "events/2026-02"), "\n") != 57 {
				t.Errorf("the first run left %v", left)
			}
			dir, none, state := one(t, s, state, spec)
			if left, _ := os.ReadDir(dir); !none.Changes || len(none.Parts) > 0 || len(left) > 0 {
				t.Errorf("where nothing changed came %+v and %v", none, left)
			}
			exec(`UPDATE events SET v = 'changed', updated_at = '2030-01-01' WHERE id = 0; DELETE FROM events WHERE id = 62; DELETE FROM events WHERE at BETWEEN '2026-04-01' AND '2026-04-30'; INSERT INTO events VALUES (1000, '2027-12-31 23:59:59.999999+00', 'new')`)
			dir, changed, state := one(t, s, state, spec)
			if !changed.Changes || !slices.Equal(changed.Parts, []string{"2026-01", "2026-02", "2027-12"}) || !slices.Equal(changed.Gone, []string{"2026-04"}) {
				t.Errorf("came to %+v", changed)
			}
			if text := content(t, dir, "events/2026-02"); strings.Count(text, "\n") != 56 {
				t.Errorf("a part is %q", text)
			}
			exec(`DELETE FROM events`)
			dir, empty, state := one(t, s, state, spec)
			if text := content(t, dir, "events/other"); empty.Changes || empty.Rows != 0 || text != "id,at,v,updated_at\n" {
				t.Errorf("an empty table is %+v: %q", empty, text)
			}
			exec(`INSERT INTO events VALUES (1, '2026-01-01', 'x')`)
			if _, again, _ := one(t, s, state, spec); again.Rows != 1 {
				t.Errorf("came to %+v", again)
			}
		})
	}
}

func TestQueriesAreMaterialized(t *testing.T) {
	pg := running(t)
	pg.shop(t)(orders)
	s := source(t, pg.settings(pg.port, ""))
	dir, got, _ := one(t, s, nil, connectors.TableSpec{Name: "sums", QueryMode: desired.QueryMaterialized, Where: "sum > 0 OR note = ';)'",
		Query: "SELECT coalesce(note, '-') AS note, sum(amount), array_agg(id) AS ids, '(' AS bracket -- a comment\nFROM orders GROUP BY 1 ORDER BY 1;"})
	want := []connectors.Column{{Name: "note", Type: "VARCHAR"}, {Name: "sum", Type: "DOUBLE"}, {Name: "ids", Type: "JSON"}, {Name: "bracket", Type: "VARCHAR"}}
	if !reflect.DeepEqual(got.Columns, want) || got.Rows != 2 {
		t.Errorf("came to %+v", got)
	}
	if text := content(t, dir, "sums"); text != "note,sum,ids,bracket\na,10.50,[1],(\n\"two\nlines, \"\"quoted\"\"\",2.00,[2],(\n" {
		t.Errorf("the file is %q", text)
	}
}

func TestRemoteTablesAreNamedWithoutThePassword(t *testing.T) {
	pg := running(t)
	pg.shop(t)(orders)
	settings := pg.settings(pg.port, "")
	spec := connectors.TableSpec{Name: "orders", ID: "public.orders", QueryMode: desired.QueryRemote}
	_, report, err := sync_(t, source(t, settings), nil, spec)
	if err != nil || report.Tables[0].Outcome != connectors.Failed || !strings.Contains(report.Tables[0].Error, "token_env") {
		t.Fatalf("without token_env it came to %+v, %v", report, err)
	}
	settings.TokenEnv = "SHOP_PASSWORD"
	dir, report, err := sync_(t, source(t, settings), nil, spec)
	if err != nil || len(report.Remotes) != 1 {
		t.Fatalf("came to %+v, %v", report, err)
	}
	remote, got := report.Remotes[0], report.Tables[0]
	if remote.URL != fmt.Sprintf("postgres://reader@127.0.0.1:%d/shop?sslmode=disable", pg.port) || remote.Extension != "postgres" || remote.TokenEnv != "SHOP_PASSWORD" || !connectors.ValidName(remote.Alias) {
		t.Errorf("the remote is %+v", remote)
	}
	if got.Remote == nil || *got.Remote != (connectors.RemoteTable{Alias: remote.Alias, Schema: "public", Table: "orders"}) || len(got.Columns) != 4 {
		t.Errorf("the table is %+v", got)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

func TestAllTablesAreOfOneSnapshot(t *testing.T) {
	pg := running(t)
	exec := pg.shop(t)
	exec(`CREATE TABLE a AS SELECT i FROM generate_series(1, 30000) i; CREATE TABLE b AS SELECT 1 AS i`)
	s := source(t, pg.settings(pg.port, ""))
	dir, once := t.TempDir(), false
	report, err := s.Sync(t.Context(), connectors.Job{Dir: dir, Tables: []connectors.TableSpec{{Name: "a", ID: "public.a"}, {Name: "b", ID: "public.b"}}, Progress: func(table string, done, _ int64) {
		if !once {
			exec(`INSERT INTO b SELECT generate_series(1, 5); DELETE FROM a`)
			once = true
		}
		if table != "a" || done%progressRows != 0 {
			t.Errorf("progress of %s is %d", table, done)
		}
	}})
	if err != nil || !once || report.Tables[0].Rows != 30000 || report.Tables[1].Rows != 1 {
		t.Errorf("came to %+v, %v", report, err)
	}
}

func TestABrokenConnectionIsTriedAgainFromTheStart(t *testing.T) {
	pg := running(t)
	exec := pg.shop(t)
	exec(`CREATE TABLE a AS SELECT 1 AS i; CREATE TABLE big AS SELECT i, repeat('x', 100) AS v FROM generate_series(1, 30000) i`)
	specs := []connectors.TableSpec{{Name: "a", ID: "public.a"}, {Name: "big", ID: "public.big"}}
	t.Run("cut", func(t *testing.T) {
		port := pg.proxy(t, func(n int) int64 { return []int64{0, 300, 200_000, 0}[min(n, 3)] })
		_, report, err := sync_(t, source(t, pg.settings(port, "")), nil, specs...)
		if err != nil || report.Outcome() != connectors.OK || report.Tables[1].Rows != 30000 {
			t.Errorf("came to %+v, %v", report, err)
		}
	})
	t.Run("cut each time", func(t *testing.T) {
		port := pg.proxy(t, func(int) int64 { return 200_000 })
		dir, report, err := sync_(t, source(t, pg.settings(port, "")), nil, specs...)
		if !errors.Is(err, errLost) || report.Outcome() != connectors.Partial || report.Tables[1].Hint == "" {
			t.Errorf("came to %+v, %v", report, err)
		}
		if content(t, dir, "a") != "i\n1\n" {
			t.Error("the table that was whole is not there")
		}
	})
	t.Run("restart", func(t *testing.T) {
		restarts, dir := 0, t.TempDir()
		report, err := source(t, pg.settings(pg.port, "")).Sync(t.Context(), connectors.Job{Dir: dir, Tables: specs, Progress: func(string, int64, int64) {
			if restarts++; restarts == 1 {
				if err := errors.Join(pg.stop("immediate"), pg.start()); err != nil {
					t.Error(err)
				}
			}
		}})
		if err != nil || report.Outcome() != connectors.OK || report.Tables[1].Rows != 30000 {
			t.Errorf("came to %+v, %v", report, err)
		}
	})
}

func TestWhatFailsFailsAloneAndIsSaidWithWhatToDo(t *testing.T) {
	pg := running(t)
	pg.shop(t)(orders + `; CREATE TABLE closed (a int); REVOKE ALL ON closed FROM reader;
		CREATE TABLE big AS SELECT i, repeat('x', 100) AS v FROM generate_series(1, 30000) i;
		CREATE VIEW slow AS SELECT pg_sleep(60)::text; CREATE VIEW broken AS SELECT 1 / (id - id) AS x FROM orders`)
	settings := pg.settings(pg.port, "")
	settings.StatementTimeout, settings.MaxBytes = 5*time.Second, 100_000
	for name, c := range map[string]struct {
		spec connectors.TableSpec
		want string
		hint string
	}{
		"no table":       {connectors.TableSpec{ID: "public.none"}, "there is none of this name", "schema.table"},
		"system table":   {connectors.TableSpec{ID: "pg_catalog.pg_authid"}, "there is none of this name", ""},
		"name":           {connectors.TableSpec{ID: `a.b.c`}, "3 parts", ""},
		"no right":       {connectors.TableSpec{ID: "public.closed"}, "no columns that may be read", "GRANT"},
		"no column":      {connectors.TableSpec{ID: "public.orders", Columns: []string{"nope"}}, "there is no nope", "There are id"},
		"where":          {connectors.TableSpec{ID: "public.orders", Where: "nope > 1"}, "42703", "columns"},
		"two statements": {connectors.TableSpec{ID: "public.orders", Where: "true); DROP TABLE orders; SELECT (true"}, "closes a parenthesis", "one condition"},
		"union":          {connectors.TableSpec{ID: "public.orders", Where: "false) UNION SELECT 1 FROM pg_authid WHERE (true"}, "closes a parenthesis", ""},
		"query of two":   {connectors.TableSpec{Query: "SELECT 1; DROP TABLE orders"}, "42601", "one SELECT"},
		"query breaks":   {connectors.TableSpec{Query: "SELECT 1) TO PROGRAM 'true'; COPY (SELECT 1"}, "42601", ""},
		"query writes":   {connectors.TableSpec{Query: "DELETE FROM orders RETURNING id"}, "SQLSTATE", ""},
		"query hides":    {connectors.TableSpec{Query: "WITH x AS (DELETE FROM orders RETURNING id) SELECT * FROM x"}, "SQLSTATE", ""},
		"parameter":      {connectors.TableSpec{Query: "SELECT $1::int"}, "no parameters", ""},
		"same columns":   {connectors.TableSpec{Query: `SELECT 1 AS a, 2 AS "A"`}, "twice", "AS in query"},
		"timeout":        {connectors.TableSpec{ID: "public.slow"}, "57014", "statement_timeout"},
		"division":       {connectors.TableSpec{ID: "public.broken"}, "22012", ""},
		"too large":      {connectors.TableSpec{ID: "public.big"}, "larger than is allowed", "max_bytes"},
		"option":         {connectors.TableSpec{ID: "public.orders", Options: map[string]string{"curser": "id"}}, "curser", "cursor"},
		"cursor":         {connectors.TableSpec{ID: "public.orders", Strategy: connectors.Incremental}, "cursor is missing", "updated_at"},
		"text cursor":    {connectors.TableSpec{ID: "public.orders", Strategy: connectors.Incremental, Options: map[string]string{"cursor": "note"}}, "neither", ""},
		"partition":      {connectors.TableSpec{ID: "public.orders", Strategy: connectors.Partitioned, Options: map[string]string{"partition": "id"}}, "no date", ""},
		"strategy":       {connectors.TableSpec{ID: "public.orders", Strategy: "half"}, "must be full", ""},
		"remote where":   {connectors.TableSpec{ID: "public.orders", QueryMode: desired.QueryRemote, Where: "true"}, "remote table", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Name = "x"
			_, report, err := sync_(t, source(t, settings), nil, connectors.TableSpec{Name: "before", ID: "public.orders"}, c.spec, connectors.TableSpec{Name: "after", ID: "public.orders"})
			got := report.Tables[1]
			if err != nil || got.Outcome != connectors.Failed || !strings.Contains(got.Error, c.want) || !strings.Contains(got.Hint, c.hint) {
				t.Errorf("came to %+v, %v", got, err)
			}
			if report.Tables[0].Rows != 4 || report.Tables[2].Rows != 4 {
				t.Errorf("the others came to %+v", report.Tables)
			}
		})
	}
}

func TestWhoIsRefusedIsToldSo(t *testing.T) {
	pg := running(t)
	pg.shop(t)(orders)
	replace := func(from, to string) Settings {
		s := pg.settings(pg.port, "")
		s.URL = strings.Replace(s.URL, from, to, 1)
		return s
	}
	other := pg.settings(pg.port, "sslmode=verify-full")
	named := other
	named.URL, named.CA = strings.Replace(named.URL, "127.0.0.1", "localhost", 1), pg.ca
	byIP := other
	other.URL = named.URL
	byIP.CA = pg.ca
	authority := byIP
	authority.URL = strings.Replace(byIP.URL, "verify-full", "verify-ca", 1)
	for name, c := range map[string]struct {
		settings Settings
		hint     string // empty: it is let in
	}{
		"good":              {pg.settings(pg.port, ""), ""},
		"socket":            {Settings{URL: fmt.Sprintf("postgres://reader@:%d/shop?host=%s", pg.port, pg.dir), Reach: anywhere}, ""},
		"tls":               {pg.settings(pg.port, "sslmode=require"), ""},
		"tls by name":       {named, ""},
		"tls by authority":  {authority, ""},
		"unknown authority": {other, "authority"},
		"another name":      {byIP, "another name"},
		"no such user":      {replace("reader", "stranger"), "credentials"},
		"no such database":  {replace("/shop", "/shopping"), "no such database"},
		"password":          {replace("ss%2Fw", "ss%2Fv"), "credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			_, report, err := sync_(t, source(t, c.settings), nil, connectors.TableSpec{Name: "orders", ID: "public.orders"})
			if c.hint == "" {
				if err != nil || report.Outcome() != connectors.OK {
					t.Errorf("came to %+v, %v", report, err)
				}
				return
			}
			if !errors.Is(err, errAccess) || !strings.Contains(connectors.Hint(err), c.hint) || report.Tables[0].Outcome != connectors.Failed {
				t.Errorf("came to %v (%s)", err, connectors.Hint(err))
			}
			clean(t, err.Error(), connectors.Hint(err))
		})
	}
}

func TestARunThatIsCancelledEndsAtTheServerToo(t *testing.T) {
	pg := running(t)
	exec := pg.shop(t)
	exec(`CREATE VIEW slow AS SELECT count(*) FROM generate_series(1, 1e12)`)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("the daemon stops")
	go func() {
		for ctx.Err() == nil { // until the statement runs
			conn, err := pg.admin("shop")
			if err != nil {
				continue
			}
			got := conn.ExecParams(context.Background(), `SELECT count(*)::text FROM pg_stat_activity WHERE query LIKE 'COPY%slow%' AND application_name = 'fairlead'`, nil, nil, nil, nil).Read()
			leave(conn)
			if got.Err == nil && string(got.Rows[0][0]) == "1" {
				cancel(stop)
			}
		}
	}()
	_, report, err := sync_t(ctx, t, source(t, pg.settings(pg.port, "")), connectors.TableSpec{Name: "slow", ID: "public.slow"}, connectors.TableSpec{Name: "next", ID: "public.slow"})
	if !errors.Is(err, stop) || report.Outcome() != connectors.Failed {
		t.Errorf("came to %+v, %v", report, err)
	}
	exec(`DO $$ BEGIN
		FOR i IN 1..600 LOOP
			PERFORM pg_stat_clear_snapshot();
			IF NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'fairlead' AND state <> 'idle') THEN RETURN; END IF;
			PERFORM pg_sleep(0.05);
		END LOOP;
		RAISE 'the statement still runs';
	END $$`)
}

func sync_t(ctx context.Context, t testing.TB, s *Source, specs ...connectors.TableSpec) (string, connectors.Report, error) {
	dir := t.TempDir()
	report, err := s.Sync(ctx, connectors.Job{Dir: dir, Tables: specs})
	return dir, report, err
}

// TestTheHostSaysWhatIsReached has a password stay here when the host does not
// permit the server that git names; a socket is this machine.
func TestTheHostSaysWhatIsReached(t *testing.T) {
	pg := running(t)
	var asked []string
	none := connectors.Reach{Allow: func(host string, at netip.Addr) error {
		asked = append(asked, host+" "+at.String())
		return errors.New("it is not on the list")
	}}
	named := pg.settings(pg.port, "")
	named.URL = strings.Replace(named.URL, "127.0.0.1", "localhost", 1)
	for want, settings := range map[string]Settings{"127.0.0.1 127.0.0.1": pg.settings(pg.port, ""), "localhost 127.0.0.1": named,
		"localhost 127.0.0.1 ": {URL: fmt.Sprintf("postgres://reader@:%d/shop?host=%s", pg.port, pg.dir)}} {
		settings.Reach, asked = none, nil
		s := source(t, settings)
		_, _, err := sync_(t, s, nil, connectors.TableSpec{Name: "orders", ID: "public.orders"})
		if !errors.Is(err, errAccess) || !strings.Contains(err.Error(), "it is not on the list") || !strings.Contains(connectors.Hint(err), "fetch.allowedHosts") ||
			!slices.Contains(asked, strings.TrimSpace(want)) {
			t.Errorf("%s: asked about %q, %v", want, asked, err)
		}
		if _, _, err := s.Discover(t.Context(), 1); !errors.Is(err, errAccess) {
			t.Errorf("%s: discovery: %v", want, err)
		}
	}
}
