// Package acme obtains certificates by ACME (RFC 8555) and renews them before
// they run out: orders, challenges, accounts, renewal information (RFC 9773),
// several certificate authorities in turn, and what has to be remembered so
// that a restart asks no authority twice. It is the only importer of certmagic
// and acmez. It serves nothing and publishes nothing: each new pair is handed
// to a callback as PEM, and the answers to challenges to whoever listens on
// ports 80 and 443.
package acme
