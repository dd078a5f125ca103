package analytics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// ready is Parquet that the real build made, for a build in its place that only
// writes it down: what is measured is everything else.
type ready struct {
	table connectors.ManifestTable
	data  []byte
}

// made has the real build make tables of these numbers of rows.
func made(t testing.TB, rows ...int) (list []ready) {
	t.Helper()
	h := duckHouse(t, Options{})
	for _, n := range rows {
		done := h.publishCSV("made", "t", 0, n)
		i, err := h.instance(inst)
		must(t, err)
		g := i.stores["made"].get(done.Generation)
		data, err := os.ReadFile(filepath.Join(g.dir, g.manifest.Tables[0].Files[0].Path))
		must(t, err)
		list = append(list, ready{g.manifest.Tables[0], data})
	}
	return list
}

// writes is a build that writes one of what was made, or several tables of it, by
// the numbers that are in the identity of the publication: which, how many.
func writes(list []ready) func(context.Context, wire.BuildRequest) (wire.BuildReply, error) {
	return func(_ context.Context, r wire.BuildRequest) (wire.BuildReply, error) {
		which, many := 0, 1
		if _, err := fmt.Sscanf(r.From.Commit, "%d %d", &which, &many); err != nil {
			return wire.BuildReply{}, err
		}
		err := os.Mkdir(filepath.Join(r.To, dataDir), 0o750)
		m := &connectors.Manifest{}
		for n := range many {
			one := list[which].table
			one.Name = fmt.Sprintf("%s_t%d", r.From.Source, n)
			one.Files = []connectors.ManifestFile{{Path: dataDir + "/" + one.Name + ".parquet"}}
			err = errors.Join(err, os.WriteFile(filepath.Join(r.To, one.Files[0].Path), list[which].data, 0o640))
			m.Tables = append(m.Tables, one)
		}
		return wire.BuildReply{Manifest: m}, err
	}
}

func (h *house) write(source string, which, many int) {
	h.Helper()
	_, err := h.Publish(h.Context(), connectors.Publication{Instance: inst, Source: source, Identity: "a", Commit: fmt.Sprint(which, " ", many), Keep: 2})
	must(h, err)
}

// While sources are published anew all the time, no query of the real engine
// fails, and neither descriptors nor memory grow. BenchmarkThousandRepublications
// does it a thousand times.
func TestRepublishedUnderLoadWithDuckDB(t *testing.T) { republishDuck(t, 300) }

func BenchmarkThousandRepublications(b *testing.B) {
	for b.Loop() {
		republishDuck(b, 1000)
	}
}

func republishDuck(t testing.TB, times int) {
	rows := []int{10, 2000}
	h := duckHouse(t, Options{build: writes(made(t, rows...))})
	want := map[string]string{}
	for n := range 10 {
		want[fmt.Sprint("s", n)] = "a"
	}
	h.Keep(inst, want)
	for source := range want {
		h.write(source, 0, 1)
	}
	var asked, failed atomic.Int64
	done := make(chan struct{})
	var clients sync.WaitGroup
	for n := range 8 {
		clients.Go(func() {
			for at := n; ; at++ {
				select {
				case <-done:
					return
				default:
				}
				sql := fmt.Sprintf("SELECT count(*) FROM s%d_t0 JOIN s%d.s%d_t0 USING (id)", at%10, at%7, at%7)
				got, err := h.ask(fmt.Sprint("user", n), sql)
				if asked.Add(1); err != nil || got != "[10]\n" && got != "[2000]\n" {
					failed.Add(1)
					t.Errorf("%s: %q, %v", sql, got, err)
				}
			}
		})
	}
	var fds, last [2]int64
	begun := time.Now()
	for n := 1; n <= times; n++ {
		h.write(fmt.Sprint("s", n%10), (n/10)%2, 1)
		if n == times/2 {
			fds = h.use()
		}
	}
	took := time.Since(begun)
	last = h.use()
	close(done)
	clients.Wait()
	t.Logf("%d publications in %s, %d queries, %d failed; descriptors %d, then %d; memory of a worker %d MiB, then %d",
		times, took.Round(time.Millisecond), asked.Load(), failed.Load(), fds[0], last[0], fds[1]>>20, last[1]>>20)
	if last[0] > fds[0]+20 || last[1] > fds[1]+fds[1]/2+64<<20 {
		t.Error("that is not flat")
	}
}

// use is how many descriptors are open here and in the workers, and the memory of
// the largest worker.
func (h *house) use() (now [2]int64) {
	h.Helper()
	now[0] = int64(descriptors(h))
	for _, pid := range h.pids() {
		entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		now[0] += int64(len(entries))
		now[1] = max(now[1], resident(h, pid))
	}
	return now
}

// hundred is a directory with a hundred sources of ten tables.
func hundred(b *testing.B, list []ready) (dir string, want map[string]string) {
	b.Helper()
	dir, want = b.TempDir(), map[string]string{}
	b.Run("prepare", func(b *testing.B) {
		h := newHouseIn(b, dir, Options{build: writes(list), Command: []string{self(b), "duck"}})
		for n := range 100 {
			want[fmt.Sprint("s", n)] = "a"
			h.write(fmt.Sprint("s", n), 0, 10)
		}
	})
	return dir, want
}

// From nothing to the first answer, with a hundred sources of ten tables.
func BenchmarkStartWith100Sources(b *testing.B) {
	dir, want := hundred(b, made(b, 100))
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			a := New(Options{Dir: func(string) string { return dir }, Command: []string{self(b), "duck"}, noGroups: true, ExportAfter: time.Hour})
			a.Keep(inst, want)
			var out bytes.Buffer
			if _, err := a.Query(b.Context(), inst, Query{SQL: "SELECT count(*) FROM s99.s99_t9"}, &out); err != nil || out.String() != "[100]\n" {
				b.Fatalf("%q, %v", out.String(), err)
			}
			b.StopTimer()
			a.Close()
			b.StartTimer()
		}
	})
}

// One of a hundred sources is published anew: until the worker has it (attach),
// and with everything that writing it down takes (publish).
func BenchmarkReattachOneOf100(b *testing.B) {
	list := made(b, 100, 200)
	dir, want := hundred(b, list)
	for _, keep := range []bool{true, false} {
		b.Run(map[bool]string{true: "attach", false: "publish"}[keep], func(b *testing.B) {
			h := newHouseIn(b, dir, Options{build: writes(list), Command: []string{self(b), "duck"}, Workers: 1})
			h.Keep(inst, want)
			h.write("s7", 0, 10)
			h.write("s7", 1, 10)
			must(b, second(h.ask("ada", "SELECT 1")))
			i, err := h.instance(inst)
			must(b, err)
			now := i.stores["s7"].currentNumber()
			for b.Loop() {
				if !keep {
					h.write("s7", 1, 10)
					continue
				}
				now ^= 1 // of the two newest, which differ in the last bit or are swapped below
				if i.stores["s7"].get(now) == nil {
					now = i.stores["s7"].good()[1].number
				}
				must(b, h.Rollback(inst, "s7", now))
				i.settle(b.Context())
			}
		})
	}
}

func second(_ string, err error) error { return err }

// Queries a second of eight clients, over small tables.
func BenchmarkQueries(b *testing.B) {
	h := duckHouse(b, Options{build: writes(made(b, 1000))})
	h.Keep(inst, map[string]string{"s": "a"})
	h.write("s", 0, 1)
	var n atomic.Int64
	b.SetParallelism(4)
	b.RunParallel(func(p *testing.PB) {
		user := fmt.Sprint("user", n.Add(1))
		for p.Next() {
			if _, err := h.Query(context.Background(), inst, Query{SQL: "SELECT max(id) FROM s_t0", User: user}, io.Discard); err != nil {
				b.Error(strings.TrimSpace(err.Error()))
			}
		}
	})
}
