// Package pair knows what makes a certificate chain and a key fit to be served:
// it reads both strictly, puts a chain in order, checks it against what is
// wanted and says all that is wrong with it at once, makes keys, signing
// requests and self-signed stand-ins, says when a certificate is due, and writes
// the formats that servers read. It is pure: it reads and writes no file, asks
// no network and no clock, and no byte of a private key is ever in one of its
// errors.
package pair
