// Package connectors says what a connector is: what it is told, what it leaves
// behind, when it runs and how its runs are judged. The sources that are built
// in have a folder each below; DuckDB is in connectors/analytics alone, and
// containers are started by whoever is handed in. Nothing here opens a database
// or speaks a service's protocol.
package connectors
