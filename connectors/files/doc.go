// Package files is the source of files: CSV, Parquet and JSON in a directory of
// the host, behind https://, in S3 and in Google Cloud Storage. It lists, fetches
// what changed, and leaves it as plain CSV, JSON lines or Parquet; the types of
// columns are found out by whoever builds tables of it. What a host permits is
// handed in; no rule about it lives here.
package files
