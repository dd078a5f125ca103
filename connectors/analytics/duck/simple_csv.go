//go:build cgo

package duck

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	maxHeader = 1 << 20  // bytes of the first row
	maxRow    = 16 << 20 // bytes of any row of CSV
)

// csvHead is what the start of a CSV file tells.
type csvHead struct {
	names []string
	delim string
	// mixed says that the first row ends in another way than the next, which
	// DuckDB refuses: a header that was put before somebody else's rows.
	mixed bool
}

// open opens a file of a table for reading, uncompressed, and nothing but a
// regular file.
func (f leftFile) open() (io.ReadCloser, error) {
	file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f.rel, errors.Unwrap(err))
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		file.Close()
		return nil, wrong(badFileKind, f.rel, "it is no regular file", "leave regular files")
	}
	if !f.gzip {
		return file, nil
	}
	zip, err := gzip.NewReader(bufio.NewReader(file))
	if err != nil {
		file.Close()
		return nil, wrong(badContent, f.rel, "it is not compressed with gzip: "+err.Error(), "compress it with gzip, or leave .gz out of its name")
	}
	return unzipped{zip, file}, nil
}

type unzipped struct {
	io.Reader
	file *os.File
}

func (u unzipped) Close() error { return u.file.Close() }

// head reads the first row. An empty file has no names.
func (f leftFile) head() (csvHead, error) {
	in, err := f.open()
	if err != nil {
		return csvHead{}, err
	}
	defer in.Close()
	start, err := io.ReadAll(io.LimitReader(in, maxHeader))
	if err != nil {
		return csvHead{}, wrong(badContent, f.rel, "read: "+err.Error(), "write it anew: it is cut off or damaged")
	}
	h, found := readHead(start, f.format)
	if found != nil {
		found.File = f.rel
		return csvHead{}, found
	}
	return h, nil
}

// readHead reads the first row off the start of a file.
func readHead(start []byte, format string) (csvHead, *fault) {
	start = bytes.TrimPrefix(start, []byte("\xef\xbb\xbf"))
	if len(start) == 0 {
		return csvHead{delim: ","}, nil
	}
	first, end := record(start)
	if end == "" && len(start) >= maxHeader {
		return csvHead{}, wrong(badColumns, "", fmt.Sprintf("its first row has more than %d bytes", maxHeader), "write the names of the columns into the first row")
	}
	h := csvHead{delim: delimiter(first, format)}
	r := csv.NewReader(bytes.NewReader(first))
	r.Comma = rune(h.delim[0])
	names, err := r.Read()
	if err != nil {
		return csvHead{}, wrong(badContent, "", "its first row: "+short(err.Error()), "write the names of the columns into the first row, as RFC 4180 has it")
	}
	h.names = names
	if _, next := record(start[len(first)+len(end):]); next != "" && next != end {
		h.mixed = true
	}
	return h, nil
}

// record is the first row of CSV and how it ends; an empty end is that of the text.
func record(text []byte) (row []byte, end string) {
	quoted := false
	for i, c := range text {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '\n':
			return text[:i], "\n"
		case c == '\r' && i+1 < len(text) && text[i+1] == '\n':
			return text[:i], "\r\n"
		case c == '\r' && i+1 < len(text):
			return text[:i], "\r"
		}
	}
	return text, ""
}

// delimiter is a comma; a first row without one may tell of another.
func delimiter(first []byte, format string) string {
	if format == "tsv" {
		return "\t"
	}
	if bytes.IndexByte(first, ',') < 0 {
		for _, d := range []string{";", "\t", "|"} {
			if bytes.Contains(first, []byte(d)) {
				return d
			}
		}
	}
	return ","
}

// even writes a file anew with one kind of line ends, uncompressed.
func (f leftFile) even(dir string) (leftFile, error) {
	in, err := f.open()
	if err != nil {
		return f, err
	}
	defer in.Close()
	out, err := os.CreateTemp(dir, "even-*.csv")
	if err != nil {
		return f, fmt.Errorf("even out line ends: %w", err)
	}
	defer out.Close()
	w := bufio.NewWriterSize(out, 1<<20)
	err = errors.Join(evenOut(w, bufio.NewReaderSize(in, 1<<20)), w.Flush(), out.Close())
	if err != nil {
		return f, fmt.Errorf("even out line ends of %s: %w", f.rel, err)
	}
	f.path, f.gzip = filepath.Clean(out.Name()), false
	return f, nil
}

// evenOut copies CSV and makes every line end outside of quotes a newline.
func evenOut(to *bufio.Writer, from *bufio.Reader) error {
	quoted, held := false, false
	for {
		c, err := from.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if c == '"' {
			quoted = !quoted
		}
		if held && c == '\n' {
			held = false
			continue // the newline of a pair is written already
		}
		if held = c == '\r' && !quoted; held {
			c = '\n'
		}
		if err := to.WriteByte(c); err != nil {
			return err
		}
	}
}

// fromCSV is the SQL that reads CSV files with the same first row, every value
// as text: a field without anything is null, "" is an empty text (as COPY of
// PostgreSQL has it).
func fromCSV(files []leftFile, h csvHead) string {
	columns := make([]string, len(h.names))
	for i, n := range h.names {
		columns[i] = quoteText(n) + ": 'VARCHAR'"
	}
	compression := "none"
	if files[0].gzip {
		compression = "gzip"
	}
	return fmt.Sprintf(`read_csv(%s, columns = {%s}, auto_detect = false, header = true, delim = %s, quote = '"', escape = '"', `+
		`nullstr = '', allow_quoted_nulls = false, strict_mode = true, null_padding = false, compression = '%s', max_line_size = %d, buffer_size = %d)`,
		pathList(files), strings.Join(columns, ", "), quoteText(h.delim), compression, maxRow, 2*maxRow)
}

// pathList writes paths as a list of SQL. None has a character of a pattern:
// openReader refuses such directories, and names of files have none.
func pathList(files []leftFile) string {
	quoted := make([]string, len(files))
	for i, f := range files {
		quoted[i] = quoteText(f.path)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
