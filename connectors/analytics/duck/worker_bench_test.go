//go:build cgo

package duck

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// many is a warehouse of n sources with ten tables each, whose files are those of
// the first under names of their own.
func many(t testing.TB, n int) *warehouse {
	t.Helper()
	h := &warehouse{dir: t.TempDir(), temp: t.TempDir()}
	tables := map[string]string{}
	for j := range 10 {
		tables[fmt.Sprintf("t0_%d", j)] = fmt.Sprintf("SELECT i::BIGINT AS id, 'v' || i AS name, i / 3 AS d, TIMESTAMP '2026-01-01' AS at FROM range(%d) t(i)", 1000+j)
	}
	first := h.source(t, "s0", 1, tables)
	for i := range n - 1 {
		h.sources = append(h.sources, h.again(t, first, i+1))
	}
	return h
}

// again is the i-th source with the files of the first.
func (h *warehouse) again(t testing.TB, first wire.Source, i int) wire.Source {
	t.Helper()
	s := wire.Source{Name: fmt.Sprintf("s%d", i), Generation: 1, Dir: filepath.Join(h.dir, fmt.Sprintf("s%d", i), "1")}
	if err := os.MkdirAll(filepath.Join(s.Dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	for j, like := range first.Tables {
		table := like
		table.Name = fmt.Sprintf("t%d_%d", i, j)
		table.Files = []connectors.ManifestFile{{Path: filepath.Join("data", table.Name+".parquet"), Size: like.Files[0].Size}}
		if err := os.Link(filepath.Join(first.Dir, like.Files[0].Path), filepath.Join(s.Dir, table.Files[0].Path)); err != nil {
			t.Fatal(err)
		}
		s.Tables = append(s.Tables, table)
	}
	return s
}

// next is the generation after that of a source, with the same files.
func (h *warehouse) next(t testing.TB, s wire.Source) wire.Source {
	t.Helper()
	two := s
	two.Generation, two.Dir = s.Generation+1, filepath.Join(h.dir, s.Name, fmt.Sprint(s.Generation+1))
	if err := os.CopyFS(two.Dir, os.DirFS(s.Dir)); err != nil {
		t.Fatal(err)
	}
	return two
}

// TestManySourcesAttachInTime holds what a worker with a hundred sources takes to
// start, and to take up one that changed, against a generous limit; the
// benchmarks measure.
func TestManySourcesAttachInTime(t *testing.T) {
	h := many(t, 100)
	two := h.next(t, h.sources[0])
	started := time.Now()
	c := h.startWith(t)
	start := time.Since(started)
	best := time.Hour
	for i := range 20 {
		if reply, _, data, err := c.query(wire.Query{SQL: "SELECT count(*) FROM t0_3 JOIN s0.t0_4 USING (id)"}); err != nil || data != "[1003]\n" {
			t.Fatalf("%+v, %q, %v", reply, data, err)
		}
		again := wire.Attach{Sources: []wire.Source{[]wire.Source{two, h.sources[0]}[i%2]}}
		started := time.Now()
		if reply, _, _, err := c.ask(wire.Request{Attach: &again}); err != nil || len(reply.Attach.Failed) > 0 || len(reply.Attach.Have) != 100 || reply.Attach.Have["s0"] != 2-i%2 {
			t.Fatalf("%+v, %v", reply, err)
		}
		best = min(best, time.Since(started))
	}
	_ = c.in.Close()
	if err := c.ends(t); err != nil {
		t.Error(err)
	}
	t.Logf("start with 100 sources: %s; another generation of one: %s; processor time of all of it: %s", start, best, used(c.cmd.ProcessState))
	if start > 2*time.Minute || best > 5*time.Second {
		t.Errorf("start with 100 sources: %s; another generation of one: %s", start, best)
	}
}

// used is the processor time that a process took, which tells more than the time
// on the clock when others use the machine, too.
func used(state *os.ProcessState) time.Duration { return state.UserTime() + state.SystemTime() }

func BenchmarkStart100(b *testing.B) {
	h := many(b, 100)
	var total time.Duration
	for b.Loop() {
		c := h.startWith(b)
		_ = c.in.Close()
		<-c.ended
		total += used(c.cmd.ProcessState)
	}
	b.ReportMetric(float64(total.Milliseconds())/float64(b.N), "cpu-ms/op")
}

// BenchmarkReattach takes another generation up, whose views were all made.
func BenchmarkReattach(b *testing.B) {
	h := many(b, 100)
	w := inProcess(b, h)
	sources := []wire.Source{h.next(b, h.sources[0]), h.sources[0]}
	var names []string
	for name, v := range w.views {
		if v.schema == "s0" || strings.HasPrefix(name, "t0_") {
			names = append(names, name)
		}
	}
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		if err := w.makeViews(b.Context(), names, nil); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if reply := w.attach(b.Context(), wire.Attach{Sources: sources[i%2 : i%2+1]}); len(reply.Failed) > 0 {
			b.Fatal(reply.Failed)
		}
	}
}

func BenchmarkQuery(b *testing.B) {
	h := many(b, 100)
	c := h.startWith(b)
	for name, sql := range map[string]string{"one": "SELECT 1", "count": "SELECT count(*) FROM s7.t7_3", "sum": "SELECT sum(id), max(name) FROM t50_2 WHERE id > 10"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if reply, _, _, err := c.query(wire.Query{SQL: sql}); err != nil || reply.Error != nil {
					b.Fatal(reply.Error, err)
				}
			}
		})
	}
}

// BenchmarkRead reads a million rows of a bigint, a text, a double and a time.
func BenchmarkRead(b *testing.B) {
	h := &warehouse{dir: b.TempDir(), temp: b.TempDir()}
	const rows = 1_000_000
	h.source(b, "big", 1, map[string]string{"t": fmt.Sprintf("SELECT i::BIGINT AS id, 'value ' || i AS name, i / 3 AS d, TIMESTAMP '2026-01-01' + to_seconds(i) AS at FROM range(%d) t(i)", rows)})
	c := h.startWith(b)
	for _, format := range []wire.Format{wire.FormatJSON, wire.FormatCSV, wire.FormatArrow, wire.FormatParquet} {
		b.Run(string(format), func(b *testing.B) {
			for b.Loop() {
				reply, _, _, err := c.query(wire.Query{SQL: "FROM big.t", Format: format, MaxRows: rows, MaxBytes: 1 << 30})
				if err != nil || reply.Error != nil || reply.Tail.Rows != rows {
					b.Fatal(reply, err)
				}
			}
			b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
