// Package postgres reads a PostgreSQL database: it lists what may be read, and
// copies tables and the results of queries into CSV by COPY, all of one run out
// of one snapshot. What values look like to DuckDB is decided here; reading the
// files, and attaching a database, is not.
package postgres
