package reconciler

import (
	"context"
	"time"
)

// Releases says what image references mean in their registries now.
// reconciler/registry implements it. However many instances ask, a registry is
// asked once for a reference. A digest means itself; of it a registry is only
// asked whether it was taken back, in the background, once for a repository.
type Releases interface {
	// Release returns what is known of a reference; a question that is due goes
	// to the registry in the background, and its answer triggers the instances
	// when it is news. When nothing is known yet, or ask.Fresh is set, it waits
	// for the answer.
	//
	// An error says that nothing is known. When something is known but could
	// not be asked again, Err and Since of the Release say so.
	Release(ctx context.Context, ref string, ask Ask) (Release, error)
}

// Ask says how a reference is asked for.
type Ask struct {
	Platform string        // "os/arch[/variant]"; empty: this host's
	Every    time.Duration // how old an answer may be
	Fresh    bool          // ask now, whatever is known
	Known    bool          // ask nobody: only what is known counts, which may be nothing
}

// Release is what a reference means.
type Release struct {
	Ref    string `json:"ref"`
	Digest string `json:"digest"` // "repository@sha256:…", of the index where there is one
	// Version is the CalVer of the digest, when a tag or label tells it.
	Version string    `json:"version,omitempty"`
	Created time.Time `json:"created,omitzero"` // of the image, as it says itself
	// Seen is when the reference was first seen to mean this digest.
	Seen time.Time `json:"seen,omitzero"`
	// Deprecated is the deprecated-… tag that the digest carries.
	Deprecated string    `json:"deprecated,omitempty"`
	Asked      time.Time `json:"asked,omitzero"` // the last time that the registry answered
	// Err is why the last question failed, and Since when that began.
	Err   error     `json:"-"`
	Since time.Time `json:"since,omitzero"`
}
