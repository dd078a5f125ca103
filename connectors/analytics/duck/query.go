//go:build cgo

package duck

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

const (
	defaultDeadline = 30 * time.Second
	defaultRows     = 10_000
	defaultBytes    = 64 << 20
	// grace is how long a statement may go on after its deadline: some functions
	// do not look whether they are interrupted. Then the worker ends itself.
	grace = 2 * time.Second
)

// query runs one statement of a user and writes its result. Pages (Offset) fit
// together only when the statement has an ORDER BY that leaves nothing open.
func (w *worker) query(ctx context.Context, id int64, q wire.Query) (wire.Tail, error) {
	started := time.Now()
	q = withDefaults(q)
	ctx, cancel := context.WithTimeout(ctx, q.Deadline)
	defer cancel()
	overdue := time.AfterFunc(q.Deadline+grace, w.giveUp(id))
	defer overdue.Stop()
	a, err := w.gate.admit(ctx, q.SQL)
	if err != nil {
		return wire.Tail{}, err
	}
	if err := w.makeViews(ctx, a.tables, a.lists); err != nil {
		return wire.Tail{}, err
	}
	r := &result{worker: w, id: id, query: q}
	if q.Format == wire.FormatParquet {
		err = w.copyQuery(ctx, a, r)
	} else {
		err = w.runQuery(ctx, a, r)
	}
	r.tail.Took = time.Since(started)
	return r.tail, err
}

func withDefaults(q wire.Query) wire.Query {
	if q.Deadline <= 0 {
		q.Deadline = defaultDeadline
	}
	if q.MaxRows <= 0 {
		q.MaxRows = defaultRows
	}
	if q.MaxBytes <= 0 {
		q.MaxBytes = defaultBytes
	}
	q.Offset = max(q.Offset, 0)
	return q
}

// runQuery runs a statement and writes its rows as they come.
func (w *worker) runQuery(ctx context.Context, a admitted, r *result) error {
	encoder, err := newEncoder(r.query.Format)
	if err != nil {
		return err
	}
	s, err := w.wrap(ctx, a, r.query, "*")
	if err != nil {
		return err
	}
	defer func() { s.close() }()
	names, types := s.columns()
	if list, cast := readableList(names, types); cast {
		s.close()
		if s, err = w.wrap(ctx, a, r.query, list); err != nil {
			return err
		}
	}
	_, read := s.columns()
	r.open(encoder, heads(names, types), names, read)
	if err := s.run(ctx, r.add); err != nil {
		return err
	}
	return r.finish()
}

// wrap prepares a statement with the cap of rows around it.
func (w *worker) wrap(ctx context.Context, a admitted, q wire.Query, list string) (*statement, error) {
	text := wrapped(a, q, list)
	if err := w.gate.inside(ctx, a, text); err != nil {
		return nil, err
	}
	var s *statement
	err := w.engine.during(ctx, func() (err error) {
		s, err = w.engine.prepare(text)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !s.isSelect() || s.parameters() > 0 {
		s.close()
		return nil, refused("this is not a statement that may be run: only one SELECT is", "")
	}
	return s, nil
}

// wrapped asks for one row more than may be, to see whether there are more.
func wrapped(a admitted, q wire.Query, list string) string {
	text := "SELECT " + list + " FROM (\n" + a.text + "\n) AS result LIMIT " + strconv.FormatInt(q.MaxRows+1, 10)
	if q.Offset > 0 {
		text += " OFFSET " + strconv.FormatInt(q.Offset, 10)
	}
	return text
}

// readableList casts the columns whose values cannot be read here to text.
func readableList(names []string, types []kind) (list string, cast bool) {
	columns := make([]string, len(names))
	for i, name := range names {
		columns[i] = quoteName(name)
		if !types[i].readable() {
			columns[i] = "CAST(" + quoteName(name) + " AS VARCHAR) AS " + quoteName(name)
			cast = true
		}
	}
	return strings.Join(columns, ", "), cast
}

func heads(names []string, types []kind) []connectors.Column {
	columns := make([]connectors.Column, len(names))
	for i := range names {
		columns[i] = connectors.Column{Name: names[i], Type: types[i].String()}
	}
	return columns
}

// copyQuery has the engine write a Parquet file, and sends it.
func (w *worker) copyQuery(ctx context.Context, a admitted, r *result) error {
	s, err := w.wrap(ctx, a, r.query, "*")
	if err != nil {
		return err
	}
	names, types := s.columns()
	s.close()
	rows, path, err := w.copyTo(ctx, wrapped(a, r.query, exactList(names, types)))
	defer func() { _ = removeAll(path) }()
	if err != nil {
		return tooLargeFile(err)
	}
	if rows > r.query.MaxRows {
		r.tail.Truncated = true
		whole := path
		rows, path, err = w.copyTo(ctx, fmt.Sprintf("FROM read_parquet(%s) LIMIT %d", quoteText(whole), r.query.MaxRows))
		if err = errors.Join(err, removeAll(whole)); err != nil {
			return err
		}
	}
	r.tail.Rows = rows
	r.columns = heads(names, types)
	return r.sendFile(ctx, path)
}

// exactList casts what the engine would write to Parquet as DOUBLE: the sum of
// whole numbers loses nothing then. UHUGEINT has more digits than a DECIMAL.
func exactList(names []string, types []kind) string {
	columns := make([]string, len(names))
	for i, name := range names {
		columns[i] = quoteName(name)
		if as := map[mapping.Type]string{mapping.TypeHugeInt: "DECIMAL(38,0)", mapping.TypeUHugeInt: "VARCHAR"}[types[i].id]; as != "" {
			columns[i] = "CAST(" + columns[i] + " AS " + as + ") AS " + columns[i]
		}
	}
	return strings.Join(columns, ", ")
}

func (w *worker) copyTo(ctx context.Context, text string) (rows int64, path string, err error) {
	if path, err = w.temporary("result-*.parquet"); err != nil {
		return 0, "", err
	}
	n, err := w.engine.one(ctx, "COPY (\n"+text+"\n) TO "+quoteText(path)+" (FORMAT parquet, COMPRESSION zstd)")
	rows, _ = n.(int64)
	return rows, path, err
}

// tooLargeFile tells a file that grew beyond RLIMIT_FSIZE from other errors.
func tooLargeFile(err error) error {
	if strings.Contains(err.Error(), "File too large") {
		return &wire.Error{Code: wire.CodeTooLarge, Message: "the result is larger than a file may be", Hint: "Ask for less, with a LIMIT or fewer columns."}
	}
	return err
}

func newEncoder(format wire.Format) (encoder, error) {
	switch format {
	case wire.FormatJSON, "":
		return &lines{}, nil
	case wire.FormatCSV:
		return &lines{csv: true}, nil
	case wire.FormatArrow:
		return &arrowEncoder{}, nil
	}
	return nil, &wire.Error{Code: wire.CodeRefused, Message: fmt.Sprintf("there is no format %q", format), Hint: "There are json, csv, arrow and parquet."}
}
