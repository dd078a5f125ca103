package analytics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

func duckHouse(t testing.TB, o Options) *house {
	t.Helper()
	o.Command = []string{self(t), "duck"}
	return newHouse(t, o)
}

// csv is a run of a built-in source with one table of numbers.
func (h *house) csv(source, table string, from, to int) connectors.Publication {
	h.Helper()
	dir := h.TempDir()
	var b bytes.Buffer
	b.WriteString("id,name\n")
	for n := from; n < to; n++ {
		fmt.Fprintf(&b, "%d,n%d\n", n, n)
	}
	must(h, os.WriteFile(filepath.Join(dir, table+".csv"), b.Bytes(), 0o600))
	return connectors.Publication{Instance: inst, Source: source, Identity: "a", Dir: dir, Built: true, Keep: 3,
		Tables: []connectors.TableResult{{Table: table, Outcome: connectors.OK, Rows: int64(to - from), PrimaryKey: []string{"id"},
			Columns: []connectors.Column{{Name: "id", Type: "BIGINT"}, {Name: "name", Type: "VARCHAR"}}}}}
}

func (h *house) publishCSV(source, table string, from, to int) connectors.Published {
	h.Helper()
	done, err := h.Publish(h.Context(), h.csv(source, table, from, to))
	must(h, err)
	if done.Generation == 0 {
		h.Fatalf("nothing was good: %+v", done)
	}
	return done
}

// The whole way with the real children: built, attached, joined, queried in every
// format, profiled, exported, our own tables beside, and checked.
func TestTheWholeWay(t *testing.T) {
	h := duckHouse(t, Options{ExportAfter: time.Millisecond})
	h.Keep(inst, map[string]string{"shop": "a", "blog": "a"})
	h.publishCSV("shop", "orders", 0, 100)
	h.publishCSV("blog", "posts", 50, 60)
	h.expect("SELECT count(*), sum(o.id) FROM orders o JOIN blog.posts p USING (id)", "[10,545]\n")
	for _, format := range []wire.Format{wire.FormatJSON, wire.FormatCSV, wire.FormatArrow, wire.FormatParquet} {
		var out bytes.Buffer
		res, err := h.Query(t.Context(), inst, Query{SQL: "SELECT * FROM shop.orders ORDER BY id", Format: format, Limit: 7}, &out)
		if err != nil || res.Rows != 7 || !res.Truncated || out.Len() == 0 || len(res.Columns) != 2 {
			t.Errorf("%s: %+v, %v", format, res, err)
		}
	}
	if p, err := h.Profile(t.Context(), inst, "ada", "shop", "orders", "id"); err != nil || len(p) < 10 {
		t.Errorf("profile %s, %v", p, err)
	}
	must(t, h.SetSystem(inst, "history", []connectors.Column{{Name: "what", Type: "VARCHAR"}, {Name: "n", Type: "BIGINT"}},
		func() iter.Seq[[]any] { return func(yield func([]any) bool) { yield([]any{"applied", 7}) } }))
	h.expect("SELECT n FROM fairlead.history WHERE what = 'applied'", "[7]\n")
	if _, err := h.ask("ada", "SELECT * FROM read_text('/etc/passwd')"); code(err) != wire.CodeRefused {
		t.Errorf("reading a file: %v", err)
	}
	h.until("the export", func() bool { return exists(filepath.Join(h.dir, analyticsDir, exportScript)) })
	reply, err := h.Check(t.Context(), h.csv("shop", "orders", 0, 3).Dir)
	if err != nil || reply.Form == "" {
		t.Errorf("check %+v, %v", reply, err)
	}
}

// What happens to files that are attached, with the real engine: the query that
// meets it is answered from the generation before, and no other source feels it.
func TestAttachedFilesAreDamaged(t *testing.T) {
	for name, do := range map[string]func(t *testing.T, path, other string){
		"truncated": func(t *testing.T, path, _ string) { must(t, os.Truncate(path, 20)) },
		"garbage": func(t *testing.T, path, _ string) {
			must(t, os.WriteFile(path, bytes.Repeat([]byte("x"), 5000), 0o600))
		},
		"missing": func(t *testing.T, path, _ string) { must(t, os.Remove(path)) },
		"another copied over": func(t *testing.T, path, other string) {
			data, err := os.ReadFile(other)
			must(t, err)
			must(t, os.WriteFile(path, data, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := duckHouse(t, Options{Workers: 1})
			h.Keep(inst, map[string]string{"shop": "a", "blog": "a"})
			h.publishCSV("shop", "orders", 0, 10)
			h.publishCSV("shop", "orders", 0, 5000)
			h.publishCSV("blog", "posts", 0, 3)
			h.expect("SELECT count(*), max(name) FROM orders", "[5000,\"n999\"]\n")
			file := func(source, table string, n int) string {
				return filepath.Join(h.dir, extractsDir, source, fmt.Sprint(n), dataDir, table+".parquet")
			}
			do(t, file("shop", "orders", 2), file("blog", "posts", 1))
			if name == "another copied over" { // it can be read: only who compares sees it
				changed, err := h.Inspect(inst, false)
				if must(t, err); !changed {
					t.Fatal("it was not seen")
				}
			}
			h.expect("SELECT count(*), max(name) FROM orders", "[10,\"n9\"]\n")
			h.expect("SELECT count(*) FROM posts", "[3]\n")
			if at := h.attached("shop"); at.Generation != 1 || !strings.Contains(at.Problem, "damaged") {
				t.Errorf("attached %+v", at)
			}
		})
	}
}

// A query that takes all the memory or cannot be interrupted ends its own worker
// at most; others are answered meanwhile.
func TestOthersAreUnharmed(t *testing.T) {
	h := duckHouse(t, Options{Workers: 2})
	h.Keep(inst, map[string]string{"shop": "a"})
	h.publishCSV("shop", "orders", 0, 100)
	for _, sql := range []string{
		"SELECT length(repeat('x', 4000000000))",
		"SELECT len(list_sort(range(200000000)))",
		"SELECT levenshtein(repeat('ab', 50000), repeat('ba', 50000))", // looks at no interrupt
		"WITH RECURSIVE t AS (SELECT 1 a UNION ALL SELECT a + 1 FROM t) SELECT count(*) FROM t",
		"SELECT sum(a.id * b.id * c.id * d.id * e.id * f.id) FROM orders a, orders b, orders c, orders d, orders e, orders f",
	} {
		done := make(chan error, 1)
		begun := time.Now()
		go func() {
			_, err := h.Query(context.Background(), inst, Query{SQL: sql, User: "eve", Deadline: 500 * time.Millisecond}, io.Discard)
			done <- err
		}()
		others := 0
		for running := true; running; others++ {
			h.expect("SELECT count(*) FROM orders", "[100]\n")
			select {
			case err := <-done:
				running = false
				if c := code(err); c != wire.CodeDeadline && c != wire.CodeMemory {
					t.Errorf("%s: %v", sql, err)
				}
				t.Logf("%s: %v after %s, %d queries of others meanwhile", sql, err, time.Since(begun).Round(time.Millisecond), others)
			default:
			}
		}
	}
}

// While a worker is killed every few queries, those of others do not fail.
func TestKilledUnderLoad(t *testing.T) {
	h := duckHouse(t, Options{Workers: 2})
	h.Keep(inst, map[string]string{"shop": "a"})
	h.publishCSV("shop", "orders", 0, 1000)
	h.expect("SELECT count(*) FROM orders", "[1000]\n")
	for range 10 {
		for _, pid := range h.pids() { // all are idle
			must(t, syscall.Kill(pid, syscall.SIGKILL))
		}
		var users sync.WaitGroup
		for n := range 4 {
			users.Go(func() {
				if got, err := h.ask(fmt.Sprint("user", n), "SELECT count(*) FROM orders"); err != nil || got != "[1000]\n" {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
		users.Wait()
	}
}

// On a disk that is full, at the real build: the error says so and what to do,
// what is attached stays, nothing is left over, and with room it goes on.
func TestPublishOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	h := newHouseIn(t, dir, Options{Command: []string{self(t), "duck"}})
	h.Keep(inst, map[string]string{"shop": "a"})
	h.publishCSV("shop", "orders", 0, 10)
	big := h.csv("shop", "orders", 0, 400_000)
	done, err := h.Publish(t.Context(), big)
	if err == nil && done.Generation != 0 {
		t.Fatal("a generation larger than the disk was published")
	}
	t.Logf("%v, %s, %+v", err, connectors.Hint(err), done)
	if err == nil || !strings.Contains(err.Error(), "No space left") && !strings.Contains(err.Error(), "no space left") || connectors.Hint(err) == "" {
		t.Errorf("the error is %v, the hint %q", err, connectors.Hint(err))
	}
	h.expect("SELECT count(*) FROM orders", "[10]\n")
	if left, _ := filepath.Glob(filepath.Join(dir, extractsDir, "shop", tmpPrefix+"*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	must(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=64m"))
	if _, err := h.Publish(t.Context(), big); err != nil {
		t.Fatal(err)
	}
	h.expect("SELECT count(*) FROM orders", "[400000]\n")
}

// TestABuildLeavesRoomForOthers has a small file that unpacks to a large one end
// its own build, and not everything else on the disk.
func TestABuildLeavesRoomForOthers(t *testing.T) {
	h := newHouse(t, Options{MinFree: 1 << 62, build: func(ctx context.Context, _ wire.BuildRequest) (wire.BuildReply, error) {
		<-ctx.Done() // it would go on for ever
		return wire.BuildReply{}, context.Cause(ctx)
	}})
	h.Keep(inst, map[string]string{"shop": "a"})
	_, err := h.Publish(t.Context(), h.csv("shop", "orders", 0, 10))
	if !errors.Is(err, errRoom) || !strings.Contains(connectors.Hint(err), "make room") {
		t.Errorf("the error is %v, the hint %q", err, connectors.Hint(err))
	}
}
