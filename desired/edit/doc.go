// Package edit changes single values of YAML files that people write, and leaves
// every other byte of them as it is: comments, order, quotes, indentation and
// line ends. It knows nothing of what the files mean, and does no I/O. Each edit
// is read back before it is given out: what it says then is the old content with
// that one change, or there is an error and no result.
package edit
