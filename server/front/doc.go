// Package front is the TLS-terminating reverse proxy inside the daemon. It
// leads each host to the containers that serve it now, over their network,
// holds requests while there is none, and lets the requests in flight to a
// container end before it is stopped. It implements reconciler.Traffic, opens
// no listener of its own and knows neither the container engine nor where
// certificates are issued: addresses come in through Set, certificates through
// the Certificates interface.
package front
