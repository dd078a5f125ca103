// Package analytics is the daemon's side of the data: it keeps the generations
// of every source on disk, has them built, checked and exported by child
// processes, supervises the query workers of each instance, gives them what is
// attached and the queries of users in a fair order, and tells what they really
// have. It never opens DuckDB, whose aborts and unbounded memory are the
// children's (package duck), and when a source runs is decided elsewhere.
package analytics
