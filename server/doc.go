// Package server is the daemon's HTTP interface and the client that the
// command line uses to talk to it. An API holds the operations as plain
// methods; the handler and the Client only carry them over HTTP, so that a
// command works the same with a daemon and without one. It listens on a unix
// socket and tells operators apart by the credentials of their process. It
// knows the reconciler and the desired state, never a driver, git or a
// container engine: those come in through the small interfaces in api.go.
package server
