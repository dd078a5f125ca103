// Package browser drives the pages of a real daemon with a real browser, and
// is tests only: the setup by clicking, what a page shows by itself, a rollback,
// queries, signing in, all of it without JavaScript, and an accessibility check
// of every page. Nothing here is linked into the daemon.
package browser
