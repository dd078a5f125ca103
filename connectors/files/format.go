package files

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors/internal/rest"
)

const buffer = 256 << 10

// format is what a file holds, without its compression.
type format string

const (
	formatCSV     format = "csv"
	formatTSV     format = "tsv"
	formatJSON    format = "json"
	formatNDJSON  format = "ndjson"
	formatParquet format = "parquet"
)

// parseFormat reads a declared format; none is empty.
func parseFormat(text string) (format, error) {
	f := format(strings.ToLower(text))
	if f == "" || slices.Contains([]format{formatCSV, formatTSV, formatJSON, formatNDJSON, formatParquet}, f) {
		return f, nil
	}
	return f, fmt.Errorf("format: %q is none of csv, tsv, json, ndjson, parquet", text)
}

// formatOf tells by a name; empty when it does not say.
func formatOf(name string) format {
	name = strings.ToLower(path.Base(name))
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zip")
	switch path.Ext(name) {
	case ".csv", ".txt":
		return formatCSV
	case ".tsv", ".tab":
		return formatTSV
	case ".json":
		return formatJSON
	case ".ndjson", ".jsonl":
		return formatNDJSON
	case ".parquet":
		return formatParquet
	}
	return ""
}

// stem is a name without what says its format.
func stem(name string) string {
	for _, end := range []string{".gz", ".zip", ".csv", ".txt", ".tsv", ".tab", ".json", ".ndjson", ".jsonl", ".parquet"} {
		if len(name) > len(end) && strings.EqualFold(name[len(name)-len(end):], end) {
			name = name[:len(name)-len(end)]
		}
	}
	return name
}

// opened is a file without its compression.
type opened struct {
	*bufio.Reader
	packed bool
	format format
	close  func()
}

// unpack opens the compression of a file, which its first bytes tell, and finds
// out what it holds. spool is where a zip lies meanwhile: its directory is at its
// end. What comes out is taken off left.
func unpack(in io.Reader, declared format, name, spool string, left *int64) (*opened, error) {
	o := &opened{format: declared, close: func() {}}
	raw := bufio.NewReaderSize(in, buffer)
	start, err := raw.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(raw)
		if err != nil {
			return nil, broken("gzip", err)
		}
		o.packed, o.Reader = true, bufio.NewReaderSize(&spend{told{z, "gzip"}, left}, buffer)
	case bytes.HasPrefix(start, []byte("PK\x03\x04")):
		if err := o.unzip(raw, spool, left); err != nil {
			return nil, err
		}
	default:
		o.Reader = bufio.NewReaderSize(&spend{raw, left}, buffer)
	}
	if o.format == "" {
		o.format = formatOf(name)
	}
	if o.format == "" {
		o.format, err = sniff(o.Reader)
	} else if start, _ := o.Peek(4); o.format != formatParquet && string(start) == "PAR1" {
		err = wrong("Set format to parquet", "it holds Parquet, not %s", o.format)
	} else {
		err = nil
	}
	if err != nil {
		o.close()
	}
	return o, err
}

// sniff tells by the first bytes.
func sniff(in *bufio.Reader) (format, error) {
	start, err := in.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(start, bom), " \t\r\n")
	switch {
	case bytes.HasPrefix(start, []byte("PAR1")):
		return formatParquet, nil
	case bytes.HasPrefix(text, []byte("{")), bytes.HasPrefix(text, []byte("[")):
		return formatJSON, nil
	}
	return formatCSV, nil
}

// unzip takes the one file out of a zip.
func (o *opened) unzip(in io.Reader, spool string, left *int64) error {
	file, err := os.CreateTemp(spool, ".zip-*")
	if err != nil {
		return rest.Permanent(err)
	}
	o.close = func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
	}
	size, err := io.Copy(file, rest.Bounded(in, *left))
	if err == nil {
		err = o.member(file, size, left)
	}
	if err != nil {
		o.close()
	}
	return err
}

func (o *opened) member(file *os.File, size int64, left *int64) error {
	z, err := zip.NewReader(file, size)
	if err != nil {
		return broken("zip", err)
	}
	var members []*zip.File
	for _, f := range z.File {
		if !f.FileInfo().IsDir() && !strings.HasPrefix(f.Name, "__MACOSX/") {
			members = append(members, f)
		}
	}
	if len(members) != 1 {
		return wrong("Put the file alone into the zip, or use gzip", "it is a zip of %d files, not of one", len(members))
	}
	body, err := members[0].Open()
	if err != nil {
		return broken("zip", err)
	}
	if o.format == "" {
		o.format = formatOf(members[0].Name)
	}
	o.packed, o.Reader = true, bufio.NewReaderSize(&spend{told{body, "zip"}, left}, buffer)
	return nil
}

// spend takes what is read off what may be.
type spend struct {
	io.Reader
	left *int64
}

func (s *spend) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if *s.left -= int64(n); *s.left < 0 {
		return 0, wrong("Take fewer files into the table", "the table is larger than is allowed")
	}
	return n, err
}

// told says of which compression an error is.
type told struct {
	io.Reader
	kind string
}

func (t told) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = broken(t.kind, err)
	}
	return n, err
}

// broken is permanent when the compression itself is: the bytes arrived as the
// store has them. What broke on the way is tried again.
func broken(kind string, err error) error {
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, zip.ErrFormat) || errors.Is(err, zip.ErrAlgorithm) || errors.Is(err, zip.ErrChecksum) {
		return wrong("See that the file is whole where it comes from", "read %s: %w", kind, err)
	}
	return fmt.Errorf("read %s: %w", kind, err)
}
