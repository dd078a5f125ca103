//go:build cgo

package main

// The floor of what is measured with data: the same work in one process, without any of ours. A build without a C
// compiler has everything but this section.
import _ "github.com/duckdb/duckdb-go/v2"
