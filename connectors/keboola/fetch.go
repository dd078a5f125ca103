package keboola

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
	"github.com/sirupsen/logrus"
)

const (
	buffer    = 256 << 10
	maxHeader = 1 << 20
	stall     = 2 * time.Minute // without a byte, a download is taken for dead
)

// fetched is what came of a table.
type fetched struct {
	rows  int64
	bytes int64 // of the files
	plain int64 // uncompressed
}

// fetch downloads an exported file into NAME.csv.gz, or its slices into NAME/.
func (s *Source) fetch(ctx context.Context, run connectors.Job, p plan, id number) (total fetched, err error) {
	f, err := s.file(ctx, id)
	if err != nil {
		return total, err
	}
	parts := []string{""}
	if f.IsSliced {
		if parts, err = s.slices(ctx, f); err != nil {
			return total, err
		}
	}
	if run.Log != nil {
		run.Log.WithFields(logrus.Fields{"table": p.spec.Name, "file": id, "slices": len(parts), "since": p.sinceText()}).Debug("fetching an export")
	}
	if f.IsSliced && len(parts) > 0 {
		if err := os.Mkdir(filepath.Join(run.Dir, p.spec.Name), 0o755); err != nil {
			return total, err
		}
	}
	for i, part := range parts {
		path := filepath.Join(run.Dir, p.spec.Name, fmt.Sprintf("part-%05d.csv.gz", i))
		if !f.IsSliced {
			path = filepath.Join(run.Dir, p.spec.Name+".csv.gz")
		}
		one, err := s.part(ctx, &f, part, path, p, s.settings.MaxBytes-total.plain)
		if err != nil {
			return total, fmt.Errorf("part %d of %d: %w", i+1, len(parts), err)
		}
		total.rows += one.rows
		total.bytes += one.bytes
		total.plain += one.plain
		if run.Progress != nil {
			run.Progress(p.spec.Name, int64(i+1), int64(len(parts)))
		}
	}
	if len(parts) == 0 {
		total, err = s.empty(filepath.Join(run.Dir, p.spec.Name+".csv.gz"), p)
	}
	return total, err
}

// part downloads one slice, or the whole of a file that has none. Credentials and
// signatures that expired on the way are asked for once more.
func (s *Source) part(ctx context.Context, f *exported, address, path string, p plan, most int64) (got fetched, err error) {
	for try := 0; ; try++ {
		ask := s.signed(f.URL)
		if f.IsSliced {
			ask = s.slice(*f, address)
		}
		err = s.http.Do(ctx, ask, func(answer *http.Response) error {
			got, err = s.write(answer, path, p, !f.IsSliced, most)
			return err
		})
		if code := rest.Code(err); try > 0 || (code != http.StatusForbidden && code != http.StatusUnauthorized && code != http.StatusBadRequest) {
			return got, err
		}
		if *f, err = s.file(ctx, f.ID); err != nil {
			return got, err
		}
	}
}

// write stores one answer, checked and with a header, as a file of its own.
func (s *Source) write(answer *http.Response, path string, p plan, headed bool, most int64) (got fetched, err error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return got, rest.Permanent(err)
	}
	defer out.Close()
	body := watch(answer.Body)
	defer body.Close()
	in, err := open(body)
	if err != nil {
		return got, err
	}
	in = bufio.NewReaderSize(rest.Bounded(in, most), buffer)
	if headed {
		if err := checkHeader(in.(*bufio.Reader), names(p.columns)); err != nil {
			return got, err
		}
	}
	packed := &meter{to: out}
	zip, _ := gzip.NewWriterLevel(packed, gzip.BestSpeed) // the level is a valid one
	if _, err := zip.Write(header(p.columns)); err != nil {
		return got, rest.Permanent(err)
	}
	rows := &counter{fields: len(p.columns)}
	got.plain, err = copyRows(zip, rows, in)
	if err != nil {
		return got, err
	}
	if err := errors.Join(zip.Close(), out.Sync(), out.Close()); err != nil {
		return got, rest.Permanent(err)
	}
	got.rows, got.bytes = rows.rows, packed.bytes
	return got, nil
}

// copyRows passes on what it reads, and says whose fault an error is: another try
// mends one of reading, not one of writing.
func copyRows(to io.Writer, rows *counter, from io.Reader) (int64, error) {
	block, total := make([]byte, buffer), int64(0)
	for {
		n, err := from.Read(block)
		total += int64(n)
		if _, wrong := rows.Write(block[:n]); wrong != nil {
			return total, rest.Permanent(wrong)
		}
		if _, wrong := to.Write(block[:n]); wrong != nil {
			return total, rest.Permanent(wrong)
		}
		if errors.Is(err, io.EOF) {
			return total, rows.Close() // cut off: another try may give the rest
		}
		if err != nil {
			return total, fmt.Errorf("read: %w", err)
		}
	}
}

// open opens the compression, which is told by the first bytes: a store may have
// opened it already.
func open(body io.Reader) (io.Reader, error) {
	in := bufio.NewReaderSize(body, buffer)
	start, err := in.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read: %w", err)
	}
	if len(start) < 2 || start[0] != 0x1f || start[1] != 0x8b {
		return in, nil
	}
	zip, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("read gzip: %w", err)
	}
	return zip, nil
}

// checkHeader takes the first row off and compares it with what was asked for.
func checkHeader(in *bufio.Reader, want []string) error {
	line := []byte{}
	for open := false; ; {
		b, err := in.ReadByte()
		if errors.Is(err, io.EOF) && len(line) > 0 {
			break
		}
		if err != nil {
			return fmt.Errorf("read header: %w", noEOF(err))
		}
		line = append(line, b)
		if open = open != (b == '"'); b == '\n' && !open {
			break
		}
		if len(line) > maxHeader {
			return rest.Permanent(fmt.Errorf("header: longer than %d bytes", maxHeader))
		}
	}
	got, err := csv.NewReader(strings.NewReader(string(line))).Read()
	if err != nil || !slices.Equal(got, want) {
		return rest.Permanent(fmt.Errorf("header: the file has columns %s, asked for were %s", rest.Short(strings.Join(got, ",")), rest.Short(strings.Join(want, ","))))
	}
	return nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// header is the first row, with every name quoted.
func header(columns []connectors.Column) []byte {
	quoted := make([]string, 0, len(columns))
	for _, c := range columns {
		quoted = append(quoted, `"`+strings.ReplaceAll(c.Name, `"`, `""`)+`"`)
	}
	return []byte(strings.Join(quoted, ",") + "\n")
}

// empty stores a table of no rows.
func (s *Source) empty(path string, p plan) (fetched, error) {
	nothing := &http.Response{Body: io.NopCloser(strings.NewReader(""))}
	return s.write(nothing, path, p, false, s.settings.MaxBytes)
}

// discard takes away what a table left that is not whole.
func discard(dir, name string) {
	_ = os.Remove(filepath.Join(dir, name+".csv.gz")) // Dir is thrown away with the run in any case
	_ = os.RemoveAll(filepath.Join(dir, name))
}

// meter counts what is written.
type meter struct {
	to    io.Writer
	bytes int64
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.to.Write(p)
	m.bytes += int64(n)
	return n, err
}

// watched closes a body that gives nothing for too long, which ends its reading
// with an error.
type watched struct {
	io.ReadCloser
	timer *time.Timer
}

func watch(body io.ReadCloser) *watched {
	return &watched{body, time.AfterFunc(stall, func() { _ = body.Close() })}
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 {
		w.timer.Reset(stall)
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	return w.ReadCloser.Close()
}
