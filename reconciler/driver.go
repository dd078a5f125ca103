package reconciler

import (
	"context"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// Target is a spec with everything floating fixed.
type Target struct {
	Spec desired.Spec `json:"spec"`
	// Images says what each image reference of the spec resolved to. A
	// reference that is absent is not known yet: that is never drift.
	Images map[string]Image `json:"images,omitempty"`

	// Generation and Revision are written on what is created, for people.
	Generation int    `json:"generation,omitempty"`
	Revision   string `json:"revision,omitempty"`
	// Dir is the instance's directory on this host: tracked files are under
	// Dir/files/<hash>, writable relative binds under Dir/work.
	Dir string `json:"-"`
	// Switch is told when containers that may serve come and go; nil: nobody asks.
	Switch Switch `json:"-"`
	// Tell is told what a driver did without, as the reason of an event and a
	// sentence; nil: nobody asks. It may be called from several goroutines.
	Tell func(reason, message string) `json:"-"`
}

// Image is what a reference means: the ID of the image on this engine, and the
// digest it has in its registry ("repo@sha256:…"), empty for one made here.
type Image struct {
	ID     string `json:"id"`
	Digest string `json:"digest,omitempty"`
}

// State is the engine's word for what a container does.
type State string

// The states of a container.
const (
	StateCreated    State = "created"
	StateRunning    State = "running"
	StatePaused     State = "paused"
	StateRestarting State = "restarting"
	StateRemoving   State = "removing"
	StateExited     State = "exited"
	StateDead       State = "dead"
)

// Health is the result of a container's health check; empty without one.
type Health string

// The results of a health check.
const (
	HealthStarting  Health = "starting"
	HealthHealthy   Health = "healthy"
	HealthUnhealthy Health = "unhealthy"
)

// Slot says which part a container plays in a replacement. It is told by its
// name, the only thing of a container that can be changed.
type Slot string

const (
	// SlotCurrent is the container that serves, under its proper name.
	SlotCurrent Slot = ""
	// SlotNext is a replacement that has not taken over yet ("NAME.next").
	SlotNext Slot = "next"
	// SlotPrevious is what was replaced, kept stopped until the generation is
	// good ("NAME.previous"). It always belongs to the last good generation.
	SlotPrevious Slot = "previous"
)

// Container is one owned container as it was found.
type Container struct {
	ID       string
	Name     string // without the leading slash
	Service  string
	Replica  int // 1 is the first
	Slot     Slot
	Hash     string // of the service it was made from
	ImageRef string // the reference it was made from
	ImageID  string
	State    State
	ExitCode int // of an exited container
	Health   Health
	Networks []string // names of the networks it is attached to
	// Addresses are where a running container is reached from this host, by
	// network; "host" stands for the host's own network.
	Addresses map[string]netip.Addr
	// Peers are the container IDs that this one was made to share a namespace
	// or volumes with, by service (network_mode: service:NAME and the like).
	Peers map[string]string
	// Changed lists the settings that other hands changed after the container
	// was made (docker update), or "container" when another one stands in its
	// place. Only a deep observation fills it for settings.
	Changed []Change
	// Completed says that a container without a restart policy ended with 0
	// while its apply watched: it is a one-shot and done.
	Completed bool
}

// NetworkState is an owned or external network as it was found.
type NetworkState struct {
	ID    string
	Name  string
	Hash  string // of the network it was made from; empty when not owned
	Owned bool
}

// VolumeState is an owned or external volume as it was found.
type VolumeState struct {
	Name  string
	Hash  string
	Owned bool
}

// Observed is what is really there for one instance. A part that could not be
// observed is nil, which is never the same as empty (law 3).
type Observed struct {
	Containers []Container // nil: not observed; owned ones only, in order of name
	// Networks and Volumes are by name on the engine; nil: not observed. A
	// quick observation does not fill them.
	Networks map[string]NetworkState
	Volumes  map[string]VolumeState
	// Foreign are the names of containers that are not ours, with whom they
	// belong to. Only a deep observation fills it.
	Foreign map[string]string
	// Known are services by hash as older generations had them, with which a
	// plan says what differs. The reconciler fills it.
	Known map[string]desired.Service
	// Digests are the digests of images by ID, as older generations had them.
	// The reconciler fills it.
	Digests map[string]string
	// Sensitive are the literal values of those older generations that must
	// not be shown.
	Sensitive []string
	// Connectors are those of the applied generation, by name; nil: none are
	// planned. The reconciler fills it.
	Connectors map[string]desired.ConnectorSpec
	// Attached is how their data stands, by name; nil: not observed.
	Attached map[string]AttachmentStatus
}

// Wait says what to wait for.
type Wait struct {
	Service   string
	Replica   int
	Condition desired.Condition
	// Stable is how long a container without a health check must run without
	// a restart, and one with it must stay healthy.
	Stable time.Duration
}

// Progress is told how far the pull of an image is; total is 0 while unknown.
type Progress func(image string, current, total int64)

// Driver is what the reconciler needs from a container engine. Every call may
// be repeated after it was cut off at any point: it looks at what is there and
// does what is missing. drivertest holds the contract as a suite.
type Driver interface {
	// Observe lists what the instance owns. A quick observation costs at most
	// one engine call however many instances ask at the same time.
	Observe(ctx context.Context, instance string, deep bool) (Observed, error)

	// Survey is a deep observation without the settings that other hands can
	// change: it costs the same however many containers there are. A
	// deployment begins with it, and what it leaves alone is looked at after.
	Survey(ctx context.Context, instance string) (Observed, error)

	// Prepare fetches the images that the target's services need and checks
	// that the engine can carry them, touching nothing that runs. It returns
	// what every image reference of the target resolves to. Images that are
	// fixed already in t.Images are not asked for again; when such an image is
	// gone from the engine it is fetched by its digest. One with a digest and no
	// ID was resolved by a registry: it is fetched by the digest, never by the
	// reference, and gets its ID.
	Prepare(ctx context.Context, t Target, p Progress) (map[string]Image, error)

	// Ensure brings the object of the action to what the target says and
	// returns once it is in effect: a container has been started (not: is
	// healthy). What a container replaces is kept, stopped, as SlotPrevious.
	// t.Switch is asked before a running container is stopped, and, when the
	// service is start-first, once its replacement is ready. A container that
	// was stopped is proved to have ended, and the service's Locks to be free,
	// before anything is started in its place.
	Ensure(ctx context.Context, t Target, a Action) error

	// Remove takes the object of the action away; absent is success. A
	// container is stopped and kept as SlotPrevious until Settle.
	Remove(ctx context.Context, t Target, a Action) error

	// Await blocks until the wait is fulfilled. A container that can no
	// longer fulfil it (crash loop, exit, unhealthy) is a *NotReady error.
	Await(ctx context.Context, t Target, w Wait) error

	// Settle ends an apply that stands: containers in SlotPrevious and
	// SlotNext are removed, and what was made is remembered so that later
	// changes by other hands are noticed.
	Settle(ctx context.Context, t Target) error
}

// NotReady says why a container did not become what was waited for. Logs holds
// its last lines.
type NotReady struct {
	Container string
	Phase     string // "start", "health", "stable", "completion"
	Reason    string // "exited with code 3", "unhealthy: …", "restarted 4 times"
	Logs      []string
}

func (e *NotReady) Error() string {
	return "wait for " + e.Container + ": " + e.Phase + ": " + e.Reason
}
