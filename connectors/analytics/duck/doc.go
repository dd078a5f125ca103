// Package duck is the only one that opens DuckDB, and it does so only in child
// processes: a worker that answers queries over what is attached, a build that
// makes a generation of what a connector left, and a check that says what is
// wrong with it. Whoever starts, feeds and ends these processes is
// connectors/analytics; nothing here decides what is wanted.
package duck
