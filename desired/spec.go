package desired

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"slices"
	"strconv"
	"time"
)

// Revision identifies a commit of the desired-state repository.
type Revision struct {
	Commit  string    `json:"commit"`
	Ref     string    `json:"ref,omitempty"` // what was followed: a branch, a tag, a commit
	Author  string    `json:"author,omitempty"`
	Email   string    `json:"email,omitempty"`
	Subject string    `json:"subject,omitempty"`
	Time    time.Time `json:"time,omitzero"`
}

// Short is the commit as people write it.
func (r Revision) Short() string {
	if len(r.Commit) > 8 {
		return r.Commit[:8]
	}
	return r.Commit
}

// Snapshot is a revision with its tree. Tree reads the commit, never a work
// tree; it may be read from several goroutines.
type Snapshot struct {
	Revision
	Tree fs.FS
	// Signature is what the commit carries of who vouches for it.
	Signature Signature
	// Dirty lists the paths with uncommitted edits, when the source is a local
	// repository with a work tree. They are not applied, only reported.
	Dirty []string
}

// Signature is what a commit carries of who vouches for it. Nothing of it was
// verified.
type Signature struct {
	Armoured string    // as it stands in the commit; empty: it has none
	Payload  []byte    // what it is of: the commit without it
	Time     time.Time // the committer's
}

// Spec is what one revision says about one instance, validated and with
// everything resolved that does not need a network.
type Spec struct {
	Name       string             `json:"name"`
	Dir        string             `json:"dir,omitempty"` // the instance's directory in the repository
	Suspend    *Suspend           `json:"suspend,omitempty"`
	AllowEmpty bool               `json:"allow_empty,omitempty"`
	Services   map[string]Service `json:"services,omitempty"`
	Networks   map[string]Network `json:"networks,omitempty"`
	Volumes    map[string]Volume  `json:"volumes,omitempty"`
	// HealthTimeout bounds the wait for every changed service together; Bake
	// is how long they must then stay healthy.
	HealthTimeout time.Duration `json:"health_timeout,omitempty"`
	Bake          time.Duration `json:"bake,omitempty"`
	// Rollback is auto, notify or off; empty is auto.
	Rollback string `json:"rollback,omitempty"`
	// RetainGenerations is how many applied generations stay ready for rollback.
	RetainGenerations int `json:"retain_generations,omitempty"`

	// Follow is the release that the services follow; nil when none is written.
	Follow *Follow `json:"follow,omitempty"`
	// Check and Smoke are asked of what was changed before it is good. Steps
	// go to Check's service and port.
	Check *HTTPCheck  `json:"check,omitempty"`
	Smoke []SmokeStep `json:"smoke,omitempty"`
	// Front and Certificates are what the embedded proxy serves.
	Front        []FrontRoute               `json:"front,omitempty"`
	Certificates map[string]CertificateSpec `json:"certificates,omitempty"`
	// Connectors are the sources of data, by name: the source's in the catalog.
	Connectors map[string]ConnectorSpec `json:"connectors,omitempty"`

	// Policy is what instance.yaml asks of its revisions. This one keeps it; it
	// bears on nothing that runs.
	Policy *PolicySpec `json:"policy,omitempty"`
	// Notify are the channels that notices go to. They bear on nothing that runs.
	Notify []NotifySpec `json:"notify,omitempty"`

	// Sensitive are literal values that must not be shown: they came from the
	// host's own files or from secrets. Stored only sealed.
	Sensitive []string `json:"sensitive,omitempty"`
	// Files holds the content of tracked mounts and seeds, by hash. It is
	// never stored with the Spec: the content lives under the instance's files
	// directory.
	Files map[string]FileTree `json:"-"`
	// Notes tell what was read but has no effect (a build: beside an image:).
	Notes []string `json:"notes,omitempty"`
	// LocalFiles are the host-only files that lie over the tree.
	LocalFiles []string `json:"local_files,omitempty"`
}

// Suspend stops all action on an instance, healing included.
type Suspend struct {
	Reason string    `json:"reason" yaml:"reason" need:"true" is:"line" doc:"Why, for whoever looks at the status."`
	Until  time.Time `json:"until,omitzero" yaml:"until" default:"until removed" doc:"When it ends by itself."`
}

// Network is a network of the instance, or an external one that must exist.
type Network struct {
	Key        string            `json:"key"`
	Name       string            `json:"name"` // on the engine
	External   bool              `json:"external,omitempty"`
	Driver     string            `json:"driver,omitempty"`
	DriverOpts map[string]string `json:"driver_opts,omitempty"`
	Internal   bool              `json:"internal,omitempty"`
	Attachable bool              `json:"attachable,omitempty"`
	EnableIPv4 *bool             `json:"enable_ipv4,omitempty"`
	EnableIPv6 *bool             `json:"enable_ipv6,omitempty"`
	IPAM       *IPAM             `json:"ipam,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
}

// IPAM is a network's address management.
type IPAM struct {
	Driver  string            `json:"driver,omitempty"`
	Options map[string]string `json:"options,omitempty"`
	Pools   []IPAMPool        `json:"pools,omitempty"`
}

// IPAMPool is one subnet of a network.
type IPAMPool struct {
	Subnet  string            `json:"subnet,omitempty"`
	IPRange string            `json:"ip_range,omitempty"`
	Gateway string            `json:"gateway,omitempty"`
	Aux     map[string]string `json:"aux,omitempty"`
}

// Volume is a named volume of the instance, or an external one that must exist.
type Volume struct {
	Key        string            `json:"key"`
	Name       string            `json:"name"` // on the engine
	External   bool              `json:"external,omitempty"`
	Driver     string            `json:"driver,omitempty"`
	DriverOpts map[string]string `json:"driver_opts,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
}

// FileTree is the content of a tracked mount: one file, or a directory.
type FileTree struct {
	// Single says that the mount is of one file; it is the only entry.
	Single bool
	// Secret says that the content is written with mode 0600 unless Entries
	// say otherwise and its path's directory with 0700.
	Secret  bool
	Entries []FileEntry // sorted by Path
}

// FileEntry is a file or a symbolic link of a FileTree.
type FileEntry struct {
	Path    string      `json:"path"` // slash separated, relative, clean
	Mode    fs.FileMode `json:"mode"` // permission bits
	UID     *int        `json:"uid,omitempty"`
	GID     *int        `json:"gid,omitempty"`
	Link    string      `json:"link,omitempty"` // symbolic link: its target, which stays inside the tree
	Content []byte      `json:"content,omitempty"`
}

// Hash is the key of the tree in Spec.Files.
func (t FileTree) Hash() string { return hashJSON(t) }

// Hash identifies what a container of this service is made from. Equal hashes
// mean that no container has to be made anew; the image is compared apart.
func (s Service) Hash() string {
	s.Image, s.PullPolicy, s.PullAfter = "", "", 0
	s.Replicas, s.UpdateOrder, s.DependsOn, s.Job, s.Locks = 0, "", nil, false, nil
	return hashJSON(s)
}

// Hash identifies what the network is made from. The key is left out.
func (n Network) Hash() string { n.Key = ""; return hashJSON(n) }

// Hash identifies what the volume is made from. The key is left out.
func (v Volume) Hash() string { v.Key = ""; return hashJSON(v) }

// Hash identifies everything in the Spec that bears on what runs. Two
// revisions with equal hashes ask for the same thing.
func (s Spec) Hash() string {
	s.Notes, s.LocalFiles, s.Sensitive, s.Suspend, s.Dir = nil, nil, nil, nil, ""
	s.RetainGenerations, s.Follow, s.Notify, s.Policy = 0, nil, nil, nil
	return hashJSON(s)
}

// Identity identifies all that is known of what a revision and this host's own
// files say of an instance, also what bears on nothing that runs.
func (s Spec) Identity() string { return hashJSON(s) }

// ServiceNames returns the names in order.
func (s Spec) ServiceNames() []string { return sortedKeys(s.Services) }

// ContainerName is the proper name of a replica's container.
func (s Spec) ContainerName(service string, replica int) string {
	if name := s.Services[service].ContainerName; name != "" {
		return name
	}
	return s.Name + "-" + service + "-" + strconv.Itoa(replica)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// hashJSON relies on encoding/json writing struct fields in order of
// declaration and map keys sorted. The golden test in spec_test.go fails when
// a change of types would make every instance redeploy.
func hashJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // only channels, functions and cycles can fail, and there are none
		panic("hash " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}
