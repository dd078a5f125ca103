// Package cloud holds what the clients of clouds have in common, those of
// certificates as those of connectors, and what asks nobody: the signature of
// AWS, the key of a Google service account with the claim that it signs, and the
// answer of a token service. How requests are made, guarded and reported is the
// clients' own.
package cloud
