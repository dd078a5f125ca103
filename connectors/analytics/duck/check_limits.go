//go:build cgo

package duck

// buildLimits bound a build or a check.
type buildLimits struct {
	maxBytes  int64 // of one file that is read
	maxTables int
	memory    string
	threads   int
	temp      string // a directory of its own
	maxTemp   string
}
