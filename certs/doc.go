// Package certs converges certificates as the reconciler converges containers:
// it fetches a candidate or has one issued, holds it against what is wanted,
// publishes it as a generation, hands it to whoever serves it and has it
// proved by a handshake. What was live stays live until something better has
// passed, and a self-signed stand-in never takes the place of a real
// certificate. Where bytes come from (certs/source, certs/acme), what makes a
// pair good (certs/pair), how it lies on disk (certs/store) and how other
// servers get it (certs/deliver) is in the rooms below; nothing here parses,
// writes or sends by itself. It terminates no connection: the front asks it.
package certs
