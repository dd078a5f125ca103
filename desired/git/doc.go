// Package git is where revisions come from: it mirrors a remote repository, or
// watches a local one, and offers the newest commit of the followed ref as a
// desired.Snapshot. It also writes commits for changes made through UI and API.
// It is the only importer of go-git and fsnotify. It decides nothing about what
// a revision says, makes no checkout, and never runs the git program.
package git
