package reconciler

import (
	"context"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// Switch is what a driver asks while it replaces or removes a container of a
// target. Both calls may be repeated for the same container.
type Switch interface {
	// Leave is called before a running container is stopped. It returns when
	// the container may be: no request is led to it any more.
	Leave(ctx context.Context, t Target, c Container) error
	// Ready is called once the replacement of a start-first swap runs and is
	// healthy, before the one that serves is touched. An error of it makes the
	// replacement fail; when it is nil, requests are led to the replacement.
	Ready(ctx context.Context, t Target, c Container) error
}

// Traffic leads requests from outside to containers. The front implements it.
type Traffic interface {
	// Set says what the hosts of an instance lead to until the next Set; none
	// ends them. It says what should be, so calling it again costs nothing. A
	// route that has endpoints again releases what was held for it.
	Set(instance string, routes []Route)
	// Drain takes a container out of every route of the instance and returns
	// when the requests in flight to it have ended or the route's drain time is
	// over. New requests for a route that has no endpoint left are held.
	Drain(ctx context.Context, instance, container string) error
	// Gaps are the times in which a service of the instance had no endpoint,
	// that ended at or after since.
	Gaps(instance string, since time.Time) []Gap
}

// Route is a host with where its requests go now.
type Route struct {
	desired.FrontRoute
	// Endpoints may be empty: requests are held then, for at most Hold.
	Endpoints []Endpoint
}

// Endpoint is a container that takes requests.
type Endpoint struct {
	Container string // ID
	Address   netip.AddrPort
}

// Gap is a time in which requests for a service had nowhere to go.
type Gap struct {
	Service string        `json:"service"`
	From    time.Time     `json:"from"`
	For     time.Duration `json:"for_ns"`
	Held    int           `json:"held"`       // requests that waited and were then served
	Refused int           `json:"refused"`    // requests that could not be held any longer
	Longest time.Duration `json:"longest_ns"` // the longest wait of a request
}

// Prober asks a running application. reconciler/verify implements it.
type Prober interface {
	// Health asks until the check passes. It ends with a *NotReady when ctx
	// does before.
	Health(ctx context.Context, base string, check desired.HTTPCheck) error
	// Smoke makes the steps in order. A step that is not answered as expected
	// is a *NotReady of phase "smoke".
	Smoke(ctx context.Context, base string, steps []desired.SmokeStep) error
	// Busy reports whether the application asks to be left alone. An error
	// says that it could not be asked, which never holds an upgrade back.
	Busy(ctx context.Context, base string, check desired.BusyCheck) (bool, error)
}
