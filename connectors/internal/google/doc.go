// Package google knows who asks Google for the sources that are built in: the
// service account of a key, or that of the machine by its metadata server. It
// gives access tokens and keeps them until they end; what is asked with them is
// the sources' own.
package google
