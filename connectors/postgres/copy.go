package postgres

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/connectors"
)

const (
	buffer       = 256 << 10
	progressRows = 10_000
)

// file takes the CSV of a COPY into a gzip file. What goes wrong in writing
// cancels the statement and swallows the rest: an error in the middle of a COPY
// would cost the connection, and with it the snapshot.
type file struct {
	to     *os.File
	zip    *gzip.Writer
	buf    *bufio.Writer
	left   int64 // bytes that may come
	rows   int64 // the server sends each in a message of its own
	cancel context.CancelCauseFunc
	err    error
	told   func(rows int64)
}

var errLarge = errors.New("the table is larger than is allowed")

func create(path string, most int64, cancel context.CancelCauseFunc) (*file, error) {
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	zip, _ := gzip.NewWriterLevel(to, gzip.BestSpeed) // the level is a valid one
	return &file{to: to, zip: zip, buf: bufio.NewWriterSize(zip, buffer), left: most, cancel: cancel}, nil
}

func (f *file) Write(p []byte) (int, error) {
	if f.err != nil {
		return len(p), nil
	}
	if f.left -= int64(len(p)); f.left < 0 {
		f.fail(connectors.WithHint(errLarge, "Read less (columns, where), or raise max_bytes"))
		return len(p), nil
	}
	if _, err := f.buf.Write(p); err != nil {
		f.fail(fmt.Errorf("%w: %w", errFile, err))
		return len(p), nil
	}
	if f.rows++; f.told != nil && f.rows%progressRows == 0 {
		f.told(f.rows)
	}
	return len(p), nil
}

func (f *file) fail(err error) {
	f.err = err
	f.cancel(err)
}

// close ends the file and returns its size.
func (f *file) close() (int64, error) {
	err := errors.Join(f.buf.Flush(), f.zip.Close(), f.to.Sync())
	info, statErr := f.to.Stat()
	if err = errors.Join(err, statErr, f.to.Close()); err != nil {
		return 0, fmt.Errorf("%w: %w", errFile, err)
	}
	return info.Size(), nil
}

// copy streams what is wanted into NAME.csv.gz, or, of a part, NAME/PART.csv.gz,
// and adds to the result what came.
func (r *run) copy(ctx context.Context, p *plan, part, where string, result *connectors.TableResult) error {
	path := filepath.Join(r.job.Dir, p.spec.Name+".csv.gz")
	if part != "" {
		if err := os.MkdirAll(filepath.Join(r.job.Dir, p.spec.Name), 0o755); err != nil {
			return err
		}
		path = filepath.Join(r.job.Dir, p.spec.Name, part+".csv.gz")
	}
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	to, err := create(path, r.source.settings.MaxBytes, cancel)
	if err != nil {
		return err
	}
	defer to.to.Close() // for the ways out that have an error already
	if r.job.Progress != nil {
		to.told = func(rows int64) { r.job.Progress(p.spec.Name, result.Rows+rows, max(p.rows, 0)) }
	}
	sql := "COPY (SELECT " + p.list() + " FROM " + p.from + " AS t" + where + ") TO STDOUT (FORMAT csv, HEADER true, ENCODING 'UTF8')"
	tag, err := r.conn.CopyTo(within, to, sql)
	switch {
	case to.err != nil:
		return to.err
	case err != nil:
		return r.source.explain(ctx, err)
	}
	size, err := to.close()
	if err != nil {
		return err
	}
	result.Rows += tag.RowsAffected()
	result.Bytes += size
	return nil
}
