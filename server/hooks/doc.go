// Package hooks reads the webhooks that git hosts and image registries send:
// whether the headers look right, whether the sender knows the secret, and what
// the payload is about. It is pure: bytes in, a Delivery out. What is done about
// a delivery is decided by the server, and no payload says what should run.
package hooks
