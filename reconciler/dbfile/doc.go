// Package dbfile opens the daemon's one bbolt file and looks after it: it checks
// the file before bbolt believes a byte of it, keeps copies of it, and when it
// is damaged builds another one from what can be read of it and of the newest
// copy. It knows the format of the file and nothing of what is in it: what a
// value is worth is asked of whoever wrote it, through a Judge.
package dbfile
