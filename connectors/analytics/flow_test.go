package analytics

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

func TestPublishedIsAttached(t *testing.T) {
	h := newHouse(t, Options{})
	h.Keep(inst, map[string]string{"shop": "a"})
	if n := h.publish("shop", "a", "orders", "v1", "people", "p1"); n != 1 {
		t.Fatalf("generation %d", n)
	}
	h.expect("read orders", "v1")
	h.expect("read shop.people", "p1")
	at := h.attached("shop")
	if at.Generation != 1 || at.Identity != "a" || at.Behind || len(at.Tables) != 2 {
		t.Fatalf("attached %+v", at)
	}
	h.publish("shop", "a", "orders", "v2")
	h.expect("read orders", "v2")
	if _, err := h.ask("ada", "read shop.people"); err == nil {
		t.Fatal("a table that is gone is there")
	}
	tables, err := h.Catalog(inst)
	must(t, err)
	if len(tables) != 1 || tables[0].Flat != "orders" || tables[0].Generation != 2 || tables[0].Rows != 1 {
		t.Fatalf("catalogue %+v", tables)
	}
	h.Keep(inst, nil)
	if _, err := h.ask("ada", "read shop.orders"); err == nil {
		t.Fatal("what is not wanted is attached")
	}
	must(t, h.Purge(t.Context(), inst, "shop"))
	if list, err := h.Generations(inst, "shop"); err != nil || len(list) != 0 {
		t.Fatalf("left %+v, %v", list, err)
	}
}

// A revert finds the data of before; what is not there in the wanted identity
// leaves what is attached.
func TestIdentityChoosesTheGeneration(t *testing.T) {
	h := newHouse(t, Options{})
	want := func(identity, data string) {
		t.Helper()
		h.Keep(inst, map[string]string{"shop": identity})
		h.expect("read orders", data)
	}
	h.Keep(inst, map[string]string{"shop": "a"})
	h.publish("shop", "a", "orders", "a1")
	want("b", "a1")
	h.publish("shop", "b", "orders", "b2")
	want("b", "b2")
	want("a", "a1")
	h.publish("shop", "b", "orders", "b3") // a run of the old commit ends late
	want("a", "a1")
	want("b", "b3")
	for n := 4; n < 8; n++ {
		h.publish("shop", "b", "orders", "more")
	}
	want("a", "more") // what it had is too old: what is attached stays
	must(t, h.Rollback(inst, "shop", 5))
	h.expect("read orders", "more")
	if at := h.attached("shop"); at.Generation != 5 {
		t.Fatalf("rolled back to %+v", at)
	}
	h.Keep(inst, map[string]string{"shop": "a"})
	if at := h.attached("shop"); at.Generation != 5 {
		t.Fatalf("the next pass undid the rollback: %+v", at)
	}
	h.publish("shop", "a", "orders", "a8")
	h.expect("read orders", "a8")
	if err := h.Rollback(inst, "shop", 1); err == nil || connectors.Hint(err) == "" {
		t.Fatalf("rolled back to what is not there: %v", err)
	}
}

func TestFirstClaimantKeepsTheFlatName(t *testing.T) {
	dir := t.TempDir()
	t.Run("one daemon", func(t *testing.T) {
		h := newHouseIn(t, dir, Options{})
		want := map[string]string{"shop": "a", "blog": "a", "crm": "a"}
		h.Keep(inst, want)
		h.publish("shop", "a", "orders", "shop's")
		h.publish("crm", "a", "Orders", "crm's", "people", "p")
		h.publish("blog", "a", "orders", "blog's")
		h.expect("read orders", "shop's")
		h.publish("shop", "a", "orders", "shop's newer")
		must(t, h.Rollback(inst, "shop", 1))
		h.expect("read blog.orders", "blog's")
		if at := h.attached("blog"); !slices.Equal(at.Conflicts, []string{"orders"}) || at.Behind {
			t.Fatalf("blog is %+v", at)
		}
	})
	t.Run("the next", func(t *testing.T) {
		h := newHouseIn(t, dir, Options{})
		h.Keep(inst, map[string]string{"shop": "a", "blog": "a", "crm": "a"})
		h.expect("read orders", "shop's")
		if at := h.attached("shop"); at.Generation != 1 {
			t.Fatalf("the rollback did not outlive the daemon: %+v", at)
		}
		h.Keep(inst, map[string]string{"blog": "a", "crm": "a"}) // free: to the next claimant
		h.expect("read Orders", "crm's")
		h.Keep(inst, map[string]string{"shop": "a", "blog": "a", "crm": "a"})
		h.expect("read Orders", "crm's")
		if at := h.attached("shop"); !slices.Equal(at.Conflicts, []string{"orders"}) {
			t.Fatalf("shop is %+v", at)
		}
	})
}

// What was damaged while nobody looked, or while it is attached, is set aside for
// the one before, and the query that met it is answered.
func TestDamageFallsBack(t *testing.T) {
	dir := t.TempDir()
	file := func(n string) string { return filepath.Join(dir, extractsDir, "shop", n, "data/orders.parquet") }
	t.Run("while attached", func(t *testing.T) {
		h := newHouseIn(t, dir, Options{})
		h.Keep(inst, map[string]string{"shop": "a"})
		for _, v := range []string{"v1", "v2", "v3"} {
			h.publish("shop", "a", "orders", v)
		}
		must(t, os.WriteFile(file("3"), []byte("garbage garbage"), 0o600))
		h.expect("read orders", "v2")
		at := h.attached("shop")
		if at.Generation != 2 || !at.Behind || !strings.Contains(at.Problem, "generation 3 is not used") || at.Hint == "" {
			t.Fatalf("attached %+v", at)
		}
		if h.reported("GenerationDamaged") != 1 {
			t.Fatalf("events %+v", h.events)
		}
	})
	must(t, os.Truncate(file("2"), 0))
	t.Run("before the start", func(t *testing.T) {
		h := newHouseIn(t, dir, Options{})
		h.Keep(inst, map[string]string{"shop": "a"})
		h.expect("read orders", "v1")
		h.publish("shop", "a", "orders", "v4")
		h.expect("read orders", "v4")
		if at := h.attached("shop"); at.Behind || at.Generation != 4 {
			t.Fatalf("attached %+v", at)
		}
		must(t, os.WriteFile(file("4"), []byte("w4"), 0o600)) // another good file, in place
		if changed, err := h.Inspect(inst, false); err != nil || !changed {
			t.Fatalf("%v, %v", changed, err)
		}
		h.expect("read orders", "v1")
	})
}

// A generation that workers cannot attach, or that kills them, is tried by another
// one and then left for the one before. Other sources are not touched.
func TestUnattachableFallsBack(t *testing.T) {
	for _, what := range []string{"poison", "kills"} {
		t.Run(what, func(t *testing.T) {
			h := newHouse(t, Options{})
			h.Keep(inst, map[string]string{"shop": "a", "blog": "a", "crm": "a"})
			h.publish("shop", "a", "orders", "v1")
			h.publish("blog", "a", "posts", "b1")
			h.publish("shop", "a", "orders", what)
			h.until("the one before is attached", func() bool {
				at := h.attached("shop")
				return at.Generation == 1 && at.Behind && strings.Contains(at.Problem, "no query worker can attach it")
			})
			h.expect("read orders", "v1")
			h.expect("read posts", "b1")
			h.publish("crm", "a", "people", "p")
			h.expect("read people", "p")
			h.publish("shop", "a", "orders", "v3")
			h.expect("read orders", "v3")
			if at := h.attached("shop"); at.Behind {
				t.Fatalf("still %+v", at)
			}
		})
	}
}

func TestNothingGoodKeepsWhatIsThere(t *testing.T) {
	h := newHouse(t, Options{})
	h.Keep(inst, map[string]string{"shop": "a"})
	h.publish("shop", "a", "orders", "v1")
	done, err := h.Publish(t.Context(), h.run("shop", "a", "orders", "bad"))
	if err != nil || done.Generation != 0 || len(done.Problems) != 1 {
		t.Fatalf("published %+v, %v", done, err)
	}
	gone := h.run("shop", "a")
	gone.Dir += "/not-there"
	if _, err := h.Publish(t.Context(), gone); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Fatalf("the build said %v", err)
	}
	h.expect("read orders", "v1")
	if left, _ := filepath.Glob(filepath.Join(h.dir, extractsDir, "shop", tmpPrefix+"*")); len(left) > 0 {
		t.Fatalf("left %v", left)
	}
	for _, name := range []string{"main", "fairlead", "a/b", ""} {
		p := h.run("shop", "a", "orders", "v")
		p.Source = name
		if _, err := h.Publish(t.Context(), p); err == nil {
			t.Errorf("a source may be named %q", name)
		}
	}
}

// Changes of a generation that is gone are not joined with another one.
func TestChangesNeedTheirBase(t *testing.T) {
	h := newHouse(t, Options{})
	h.Keep(inst, map[string]string{"shop": "a"})
	h.publish("shop", "a", "orders", "v1")
	p := h.run("shop", "a", "orders", "v2")
	p.Base = 7
	p.Tables = []connectors.TableResult{{Table: "orders", Outcome: connectors.OK, Changes: true}}
	done, err := h.Publish(t.Context(), p)
	if err != nil || len(done.Problems) != 1 || done.Problems[0].Code != BaseLost {
		t.Fatalf("published %+v, %v", done, err)
	}
	if p.Tables[0].Outcome != connectors.OK {
		t.Error("what the caller has was changed")
	}
	if n, err := h.Base(inst, "shop"); err != nil || n != 2 {
		t.Fatalf("base %d, %v", n, err)
	}
}

func TestSystemTablesFollow(t *testing.T) {
	h := newHouse(t, Options{})
	value := "one"
	rows := func() iter.Seq[[]any] {
		h.Keep(inst, map[string]string{}) // who has the rows may be asking us for something
		return func(yield func([]any) bool) { yield([]any{value, 1}) }
	}
	columns := []connectors.Column{{Name: "what", Type: "VARCHAR"}, {Name: "n", Type: "BIGINT"}}
	must(t, h.SetSystem(inst, "history", columns, rows))
	h.expect("system history -- fairlead.history", `{"what":"one","n":1}`+"\n")
	value = "two"
	h.until("the change is seen", func() bool {
		got, err := h.ask("ada", "system history -- FairLead.history")
		must(t, err)
		return strings.Contains(got, "two")
	})
	if err := h.SetSystem(inst, "../x", columns, rows); err == nil {
		t.Error("a system table may have any name")
	}
}

func TestExportFollows(t *testing.T) {
	h := newHouse(t, Options{ExportAfter: time.Millisecond})
	h.Keep(inst, map[string]string{"shop": "a"})
	h.publish("shop", "a", "orders", "v1")
	has := func(text string) func() bool {
		return func() bool {
			data, _ := os.ReadFile(filepath.Join(h.dir, analyticsDir, exportFile))
			return strings.Contains(string(data), text)
		}
	}
	h.until("the first export", has(`"generation":1`))
	for n := 2; n < 7; n++ {
		h.publish("shop", "a", "orders", "v")
	}
	h.until("the next export", has(`"generation":6`))
	if _, err := os.Stat(filepath.Join(h.dir, analyticsDir, exportScript)); err != nil {
		t.Error(err)
	}
}

// A change of remotes, or of the token of one, takes a new worker; the old one
// answers until it is there. One that is down is told of, and what is copied stays.
func TestRemotesTakeANewWorker(t *testing.T) {
	token := "first"
	h := newHouse(t, Options{Remote: wire.RemotePolicy{Tokens: []string{"PG"}},
		Token: func(_, name string) (string, bool) { return token, name == "PG" }})
	h.Keep(inst, map[string]string{"shop": "a", "blog": "a"})
	h.publish("blog", "a", "posts", "b1")
	h.expect("token PG", "")
	p := h.run("shop", "a", "orders", "v1")
	p.Remotes = []connectors.Remote{{Alias: "pg", Extension: "postgres", URL: h.dir, TokenEnv: "PG"}}
	_, err := h.Publish(t.Context(), p)
	must(t, err)
	is := func(want string) func() bool {
		return func() bool { got, err := h.ask("ada", "token PG"); must(t, err); return got == want }
	}
	h.until("a worker with the token", is("first"))
	token = "second"
	_, err = h.Inspect(inst, false)
	must(t, err)
	h.until("a worker with the new token", is("second"))
}

// A remote database that is down is told of, what is copied stays and is not taken
// for damaged, no other source feels it, and it is tried again.
func TestRemoteThatIsDown(t *testing.T) {
	h := newHouse(t, Options{})
	h.Keep(inst, map[string]string{"shop": "a", "blog": "a"})
	h.publish("blog", "a", "posts", "b1")
	p := h.run("shop", "a", "orders", "remote")
	up := filepath.Join(h.dir, "up")
	p.Remotes = []connectors.Remote{{Alias: "pg", Extension: "postgres", URL: up}}
	_, err := h.Publish(t.Context(), p)
	must(t, err)
	h.until("it is told", func() bool { return strings.Contains(h.attached("shop").Problem, "no route to host") })
	h.expect("read orders", "remote")
	if at := h.attached("shop"); at.Generation != 1 || !at.Behind || at.Hint != remoteHint || h.attached("blog").Behind || h.reported("NotAttached") > 0 {
		t.Errorf("attached %+v", h.Attached(inst))
	}
	must(t, os.WriteFile(up, nil, 0o600))
	i, err := h.instance(inst)
	must(t, err)
	at := time.Now()
	h.until("it is tried again", func() bool { at = at.Add(time.Minute); i.tidy(at); return !h.attached("shop").Behind })
	h.expect("read orders", "remote")
}

func TestCheckNeedsNoDaemon(t *testing.T) {
	a := New(Options{noGroups: true, Command: []string{self(t), "plain"}, BuildTimeout: 200 * time.Millisecond})
	reply, err := New(Options{noGroups: true, Command: []string{self(t), "plain"}}).Check(t.Context(), "x")
	if err != nil || reply.Form != "simple" {
		t.Fatalf("%+v, %v", reply, err)
	}
	if _, err := a.Check(t.Context(), "hangs"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a check that hangs: %v", err)
	}
	missing := New(Options{noGroups: true, Command: []string{"/not/there"}})
	if _, err := missing.Check(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Fatalf("without a program: %v", err)
	}
}

func TestExtensionsAreListed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "v1.5.6", "linux_amd64")
	must(t, os.MkdirAll(path, 0o750))
	must(t, os.WriteFile(filepath.Join(path, "postgres_scanner.duckdb_extension"), nil, 0o600))
	a := New(Options{Extensions: dir, Remote: wire.RemotePolicy{Extensions: []string{"postgres", "bigquery"}}})
	got := a.Extensions()
	if len(got) != 2 || got[0].Path != "" || got[1].Path != filepath.Join(path, "postgres_scanner.duckdb_extension") {
		t.Fatalf("%+v", got)
	}
}
