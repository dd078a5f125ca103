package reconciler

// Kind is the kind of object that an action is about.
type Kind string

// The kinds, in the order in which a plan lists them.
const (
	KindNetwork   Kind = "network"
	KindVolume    Kind = "volume"
	KindContainer Kind = "container"
	KindConnector Kind = "connector"
)

// Verb is what an action does, as a person sees it.
type Verb string

// The verbs and their glyphs in a printed plan.
const (
	Create  Verb = "create"  // +
	Update  Verb = "update"  // ~ in place: start, unpause, rename, connect, limits
	Replace Verb = "replace" // -/+
	Remove  Verb = "remove"  // -
)

// Change is one field that differs, old to new. A value that must not be shown
// reads "(sensitive)".
type Change struct {
	Field string `json:"field"`
	Old   string `json:"old"`
	New   string `json:"new"`
}

// Action is one step of a plan: one object and what happens to it.
type Action struct {
	Kind    Kind     `json:"kind"`
	Verb    Verb     `json:"verb"`
	Name    string   `json:"name"`              // key in the spec: service, network, volume or connector
	Replica int      `json:"replica,omitempty"` // of a container; 1 is the first
	Object  string   `json:"object"`            // name on the engine
	Reason  string   `json:"reason"`            // one phrase: why
	Changes []Change `json:"changes,omitempty"`
}
