// Package store keeps certificate pairs on disk: the key and the signing request
// that are made on this host, and every published pair as a generation of its
// own, which is written, read back and only then made current, so that a crash
// or a full disk at any point leaves a pair that works. It tells what was
// changed by hand and puts it back, and delivers pairs to directories of other
// servers. What makes a pair good, where one comes from and who serves it are
// decided elsewhere.
package store
