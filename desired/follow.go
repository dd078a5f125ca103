package desired

import "time"

// Follow says which image reference of the services the release decides, and
// when a move of it is taken. It is not part of Spec.Hash: the reference itself
// is in the services, and the rest only says when, not what.
type Follow struct {
	// Ref is what the services that follow run: REPOSITORY:TAG for a channel or
	// a version, REPOSITORY@DIGEST for a digest.
	Ref string `json:"ref"`
	// Channel is the floating tag; empty when the release is pinned, and then
	// no upgrade arrives by itself.
	Channel string `json:"channel,omitempty"`
	Version string `json:"version,omitempty"` // of a pin by version

	Every  time.Duration `json:"every,omitempty"` // how often the registry is asked
	Window *Window       `json:"window,omitempty"`
	MinAge time.Duration `json:"min_age,omitempty"`
	Busy   *BusyCheck    `json:"busy,omitempty"`
}

// BusyCheck asks the application whether an upgrade has to wait: GET on the
// service, and Field of the JSON answer is true while it is busy.
type BusyCheck struct {
	Service  string        `json:"service"`       // of the instance; empty: Host is not one
	Host     string        `json:"host"`          // host and port as written
	TLS      bool          `json:"tls,omitempty"` // https; never of a service
	Port     int           `json:"port"`
	Path     string        `json:"path"` // with query
	Field    string        `json:"field"`
	MaxDefer time.Duration `json:"max_defer"`
}

// HTTPCheck is a GET that a changed service must answer with 2xx or 3xx before
// its generation is good.
type HTTPCheck struct {
	Service string `json:"service"`
	Path    string `json:"path,omitempty"` // empty: only the smoke steps use Service and Port
	Port    int    `json:"port"`
}

// FrontRoute is one host that the front serves for the instance.
type FrontRoute struct {
	Host         string        `json:"host"`
	Service      string        `json:"service"`
	Port         int           `json:"port"` // inside the container
	Certificate  string        `json:"certificate,omitempty"`
	HSTS         int           `json:"hsts,omitempty"` // seconds; 0: none
	RedirectHTTP bool          `json:"redirect_http,omitempty"`
	Drain        time.Duration `json:"drain,omitempty"`
	Hold         time.Duration `json:"hold,omitempty"`
}
