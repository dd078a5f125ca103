//go:build cgo

package duck

import (
	"fmt"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// many is a warehouse of n sources with ten tables each.
func many(t testing.TB, n int) *warehouse {
	t.Helper()
	h := &warehouse{dir: t.TempDir(), temp: t.TempDir()}
	for i := range n {
		tables := map[string]string{}
		for j := range 10 {
			tables[fmt.Sprintf("t%d_%d", i, j)] = "SELECT i::BIGINT AS id, 'v' || i AS name, i / 3 AS d, TIMESTAMP '2026-01-01' AS at FROM range(1000) t(i)"
		}
		h.source(t, fmt.Sprintf("s%d", i), 1, tables)
	}
	return h
}

// TestManySourcesAttachInTime holds what a worker with a hundred sources takes to
// start, and to take up one that changed, against a generous limit; the
// benchmarks measure.
func TestManySourcesAttachInTime(t *testing.T) {
	h := many(t, 100)
	started := time.Now()
	c := h.startWith(t)
	start := time.Since(started)
	a := h.attach()
	again := wire.Attach{Sources: h.sources[:1], Flat: map[string]string{}}
	for name, target := range a.Flat {
		if target[:3] == "s0." {
			again.Flat[name] = target
		}
	}
	best := time.Hour
	for range 20 {
		started := time.Now()
		if reply, _, _, err := c.ask(wire.Request{Attach: &again}); err != nil || len(reply.Attach.Failed) > 0 || len(reply.Attach.Have) != 100 {
			t.Fatalf("%+v, %v", reply, err)
		}
		best = min(best, time.Since(started))
	}
	_ = c.in.Close()
	if err := c.ends(t); err != nil {
		t.Error(err)
	}
	state := c.cmd.ProcessState
	t.Logf("start with 100 sources: %s; one of them again: %s; processor time of all of it: %s", start, best, state.UserTime()+state.SystemTime())
	if start > 20*time.Second || best > 200*time.Millisecond {
		t.Errorf("start with 100 sources: %s; one of them again: %s", start, best)
	}
}

func BenchmarkStart100(b *testing.B) {
	h := many(b, 100)
	for b.Loop() {
		c := h.startWith(b)
		_ = c.in.Close()
		<-c.ended
	}
}

func BenchmarkReattach(b *testing.B) {
	h := many(b, 100)
	w := inProcess(b, h)
	again := wire.Attach{Sources: h.sources[:1]}
	for b.Loop() {
		if reply := w.attach(b.Context(), again); len(reply.Failed) > 0 {
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
