//go:build cgo

package duck

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// What this program's DuckDB, 1.5.6, reads: 64 is of 1.0 and 1.1, 65 of 1.2, 66
// of 1.3, 67 of 1.4, 68 of 1.5. 2.0 and later write 999 there
// (https://duckdb.org/docs/internals/storage).
const (
	oldestStorage = 64
	newestStorage = 68
	futureStorage = 999
	headerBytes   = 20
)

const storageFix = "write the file with ATTACH 'extract.duckdb' AS x (STORAGE_VERSION 'v1.2.0'), or leave Parquet files in out/ instead"

// probeHeader reads the first bytes of a file: which storage version it has, or
// why it is no database that can be read.
func probeHeader(file string, head []byte) (version uint64, err *fault) {
	if len(head) < headerBytes || !bytes.Equal(head[8:12], []byte("DUCK")) {
		return 0, wrong(badFormat, file, "it is not a DuckDB database: "+looksLike(head), "write it with DuckDB, close it, and rename it to extract.duckdb when it is whole")
	}
	version = binary.LittleEndian.Uint64(head[12:20])
	switch {
	case version == futureStorage:
		return version, wrong(badStorage, file, fmt.Sprintf("storage version %d (DuckDB 2.0 or later); supported are %d to %d", version, oldestStorage, newestStorage), storageFix)
	case version < oldestStorage || version > newestStorage:
		return version, wrong(badStorage, file, fmt.Sprintf("storage version %d; supported are %d to %d", version, oldestStorage, newestStorage), storageFix)
	}
	return version, nil
}

// looksLike says what a file is that is no database.
func looksLike(head []byte) string {
	for _, known := range []struct{ magic, what string }{
		{"SQLite format 3\x00", "it is one of SQLite"},
		{"PAR1", "it is a Parquet file"},
		{"\x1f\x8b", "it is compressed with gzip"},
		{"PK\x03\x04", "it is a zip archive"},
		{"<", "it looks like HTML or XML"},
		{"{", "it looks like JSON"},
	} {
		if bytes.HasPrefix(head, []byte(known.magic)) {
			return known.what
		}
	}
	switch {
	case len(head) == 0:
		return "it is empty"
	case len(bytes.Trim(head, "\x00")) == 0:
		return "it begins with zeros"
	case len(head) < headerBytes:
		return fmt.Sprintf("it has %d bytes", len(head))
	}
	return "it begins with something else"
}
