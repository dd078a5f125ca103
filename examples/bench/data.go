package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

const (
	dataRows      = 1_000_000
	dataQuickRows = 100_000
	dataSources   = 100
	dataTables    = 10 // of each of these sources
	dataInstance  = "bench"
)

// lake is what data is measured in: generations and workers, beside DuckDB by itself.
type lake struct {
	b     *bench
	dir   string
	rows  int
	csv   string
	a     *analytics.Analytics
	floor *sql.DB
}

// measureData writes and reads a million rows, and has many sources attached.
func measureData(ctx context.Context, b *bench) (err error) {
	l := &lake{b: b, dir: filepath.Join(b.dir, "lake"), rows: dataRows}
	if b.opt.quick {
		l.rows = dataQuickRows
	}
	l.csv = filepath.Join(l.dir, "rows", "t.csv")
	if err := l.writeCSV(); err != nil {
		return err
	}
	if l.floor, err = sql.Open("duckdb", ""); err != nil {
		return fmt.Errorf("open DuckDB, which a build with CGO_ENABLED=1 has: %w", err)
	}
	defer func() { err = errors.Join(err, l.floor.Close()) }()
	l.a = l.open()
	defer l.a.Close()
	for _, measure := range []func(context.Context) error{l.write, l.read, l.many} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (l *lake) open() *analytics.Analytics {
	return analytics.New(analytics.Options{Dir: func(string) string { return l.dir }, Command: []string{l.b.bin, "child"}, Workers: 1, Threads: 2,
		BuildLimits: wire.BuildLimits{Threads: 2}})
}

// writeCSV writes rows like those of our reference: bigint, varchar, double, timestamp.
func (l *lake) writeCSV() error {
	if err := os.MkdirAll(filepath.Dir(l.csv), 0o700); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	f, err := os.Create(l.csv)
	if err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	fmt.Fprintln(w, "id,name,amount,at")
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range l.rows {
		fmt.Fprintf(w, "%d,name-%d,%d.25,%s\n", i, i%5000, i%100_000, start.Add(time.Duration(i)*time.Second).Format("2006-01-02 15:04:05"))
	}
	return errors.Join(w.Flush(), f.Close())
}

func (l *lake) publish(ctx context.Context, source, dir string) error {
	done, err := l.a.Publish(ctx, connectors.Publication{Instance: dataInstance, Source: source, Identity: "x", Dir: dir, Keep: 2, At: time.Now()})
	if err == nil && (done.Generation == 0 || len(done.Problems) > 0) {
		err = fmt.Errorf("publish %s: %+v", source, done.Problems)
	}
	return err
}

// perSecond is what so many rows in so much time come to.
func (l *lake) perSecond(began time.Time) float64 {
	return float64(l.rows) / time.Since(began).Seconds()
}

// write makes generations of the rows, from CSV with its types to be found out.
func (l *lake) write(ctx context.Context) error {
	l.a.Keep(dataInstance, map[string]string{"rows": "x"})
	var ours, theirs series
	for range l.b.rounds(5, 2) {
		began := time.Now()
		if err := l.publish(ctx, "rows", filepath.Dir(l.csv)); err != nil {
			return err
		}
		ours = append(ours, l.perSecond(began))
		began = time.Now()
		if _, err := l.floor.ExecContext(ctx, fmt.Sprintf("COPY (FROM read_csv('%s', sample_size=-1)) TO '%s' (FORMAT parquet, COMPRESSION zstd)",
			l.csv, filepath.Join(l.dir, "floor.parquet"))); err != nil {
			return fmt.Errorf("write floor: %w", err)
		}
		theirs = append(theirs, l.perSecond(began))
	}
	l.b.figure(figure{name: "data: rows from CSV to a published generation", ours: ours, against: "DuckDB alone, COPY CSV to Parquet", theirs: theirs, unit: "rows/s", floor: true})
	return nil
}

// read has a query worker give all rows, in each format.
func (l *lake) read(ctx context.Context) error {
	const all = "SELECT * FROM rows.t"
	var scan series
	for range l.b.rounds(5, 2) {
		began := time.Now()
		if err := l.scan(ctx); err != nil {
			return fmt.Errorf("read floor: %w", err)
		}
		scan = append(scan, l.perSecond(began))
	}
	for _, format := range []wire.Format{wire.FormatJSON, wire.FormatCSV, wire.FormatArrow, wire.FormatParquet} {
		var ours series
		for range l.b.rounds(5, 2) {
			began := time.Now()
			res, err := l.a.Query(ctx, dataInstance, analytics.Query{SQL: all, Format: format}, io.Discard)
			if err == nil && res.Rows != int64(l.rows) {
				err = fmt.Errorf("it gave %d rows of %d", res.Rows, l.rows)
			}
			if err != nil {
				return fmt.Errorf("read as %s: %w", format, err)
			}
			ours = append(ours, l.perSecond(began))
		}
		l.b.figure(figure{name: "data: rows read as " + string(format), ours: ours, against: "database/sql, every row scanned", theirs: scan, unit: "rows/s", floor: true})
	}
	return nil
}

func (l *lake) scan(ctx context.Context) error {
	rows, err := l.floor.QueryContext(ctx, fmt.Sprintf("FROM read_parquet('%s')", filepath.Join(l.dir, "floor.parquet")))
	if err != nil {
		return err
	}
	defer rows.Close()
	var id int64
	var name string
	var amount float64
	var at time.Time
	for rows.Next() {
		if err := rows.Scan(&id, &name, &amount, &at); err != nil {
			return err
		}
	}
	return rows.Err()
}

// many starts with many sources, and has one of them change under a worker.
func (l *lake) many(ctx context.Context) error {
	want := map[string]string{"rows": "x"}
	dir := filepath.Join(l.dir, "small")
	for n := range dataTables {
		name := filepath.Join(dir, fmt.Sprintf("t%d.csv", n))
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(name, []byte("id,name\n1,a\n2,b\n"), 0o600)); err != nil {
			return fmt.Errorf("write tables: %w", err)
		}
	}
	for n := range dataSources {
		source := fmt.Sprintf("s%d", n)
		want[source] = "x"
		l.a.Keep(dataInstance, want)
		if err := l.publish(ctx, source, dir); err != nil {
			return err
		}
	}
	if err := l.publish(ctx, "s50", dir); err != nil {
		return err
	}
	var start, again series
	for range l.b.rounds(5, 2) {
		l.a.Close()
		l.a = l.open()
		began := time.Now()
		l.a.Keep(dataInstance, want)
		if err := l.ask(ctx); err != nil {
			return err
		}
		start = append(start, milliseconds(time.Since(began)))
	}
	kept, err := l.a.Generations(dataInstance, "s50")
	if err != nil || len(kept) < 2 {
		return errors.Join(err, fmt.Errorf("%d generations are kept", len(kept)))
	}
	for i := range l.b.rounds(20, 4) {
		began := time.Now()
		if err := l.a.Rollback(dataInstance, "s50", kept[(i+1)%2].Number); err != nil {
			return err
		}
		if err := l.ask(ctx); err != nil {
			return err
		}
		again = append(again, milliseconds(time.Since(began)))
	}
	what := fmt.Sprintf("data, %d sources of %d tables: ", dataSources, dataTables)
	l.b.figure(figure{name: what + "start until a query is answered", ours: start, unit: "ms", limit: 1000})
	l.b.figure(figure{name: what + "one attached anew until a query is answered", ours: again, unit: "ms", limit: 10})
	return nil
}

func (l *lake) ask(ctx context.Context) error {
	_, err := l.a.Query(ctx, dataInstance, analytics.Query{SQL: "SELECT count(*) FROM s50.t5"}, io.Discard)
	return err
}
