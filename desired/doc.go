// Package desired holds what should be: the types that a revision of the
// desired-state directory is read into, the strict reading of instance.yaml,
// and its JSON Schema. It is pure: it reads an fs.FS and returns values. Git,
// compose files and everything that touches a host live in packages that
// import this one.
package desired
