// Package starter has the files that a new connector begins with: a program for
// a directory, a program for an image, and a file for each source that is built
// in. They work as they are, and say in comments what to change. It writes
// files and knows nothing else about connectors.
package starter
