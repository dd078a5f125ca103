// Package keboola is the built-in source for Keboola Storage: it lists the tables
// of a project and exports them through the Storage API as typed CSV, whole or by
// what changed. The protocol lives here, with the three object stores that exports
// are fetched from; what becomes of the files does not.
package keboola
