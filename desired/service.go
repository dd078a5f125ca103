package desired

import "time"

// Service is one compose service with everything resolved: no variable, no
// relative path, no file reference is left in it. It holds what a container is
// made from, in the units of the Docker API but without its types.
//
// Every field is omitted from JSON when zero, so that a new field does not
// change the hash of the services that do not use it (law 10).
type Service struct {
	Name string `json:"name"`

	// Image is the reference as written. It is not part of the hash: what an
	// image is decided by the ID it resolves to (Target.Images).
	Image      string `json:"image,omitempty"`
	Platform   string `json:"platform,omitempty"`
	PullPolicy string `json:"pull_policy,omitempty"` // "", missing, always, never, refresh
	// PullAfter is how old the last pull of an image may be with refresh.
	PullAfter time.Duration `json:"pull_after,omitempty"`

	ContainerName   string   `json:"container_name,omitempty"`
	Hostname        string   `json:"hostname,omitempty"`
	Domainname      string   `json:"domainname,omitempty"`
	Command         []string `json:"command,omitempty"`
	ClearCommand    bool     `json:"clear_command,omitempty"` // command: [] in the file
	Entrypoint      []string `json:"entrypoint,omitempty"`
	ClearEntrypoint bool     `json:"clear_entrypoint,omitempty"` // entrypoint: [] in the file
	User            string   `json:"user,omitempty"`
	GroupAdd        []string `json:"group_add,omitempty"`
	WorkingDir      string   `json:"working_dir,omitempty"`
	Init            *bool    `json:"init,omitempty"`
	TTY             bool     `json:"tty,omitempty"`
	StdinOpen       bool     `json:"stdin_open,omitempty"`
	StopSignal      string   `json:"stop_signal,omitempty"`
	// StopGrace is how long the process may take to end after StopSignal; nil
	// is the engine's default of ten seconds.
	StopGrace *time.Duration `json:"stop_grace,omitempty"`

	Environment map[string]string `json:"environment,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`

	Ports  []Port   `json:"ports,omitempty"`
	Expose []string `json:"expose,omitempty"` // "80", "80/udp", "3000-3005"

	NetworkMode string           `json:"network_mode,omitempty"` // host, none, bridge, service:NAME, container:NAME
	Networks    []ServiceNetwork `json:"networks,omitempty"`     // sorted: the first is the one the container is made on
	// Links are "SERVICE:ALIAS" of the same instance; ExternalLinks "CONTAINER:ALIAS".
	Links         []string          `json:"links,omitempty"`
	ExternalLinks []string          `json:"external_links,omitempty"`
	ExtraHosts    []string          `json:"extra_hosts,omitempty"` // "host:address"
	DNS           []string          `json:"dns,omitempty"`
	DNSSearch     []string          `json:"dns_search,omitempty"`
	DNSOptions    []string          `json:"dns_options,omitempty"`
	MacAddress    string            `json:"mac_address,omitempty"`
	Sysctls       map[string]string `json:"sysctls,omitempty"`

	Mounts      []Mount  `json:"mounts,omitempty"`
	VolumesFrom []string `json:"volumes_from,omitempty"` // "service:NAME[:ro]", "container:NAME[:ro]"
	ReadOnly    bool     `json:"read_only,omitempty"`
	ShmSize     int64    `json:"shm_size,omitempty"` // bytes

	Healthcheck *Healthcheck `json:"healthcheck,omitempty"`
	Restart     Restart      `json:"restart,omitzero"`
	Logging     *Logging     `json:"logging,omitempty"`

	Privileged        bool              `json:"privileged,omitempty"`
	CapAdd            []string          `json:"cap_add,omitempty"`
	CapDrop           []string          `json:"cap_drop,omitempty"`
	SecurityOpt       []string          `json:"security_opt,omitempty"` // seccomp profiles inlined
	UsernsMode        string            `json:"userns_mode,omitempty"`
	IPC               string            `json:"ipc,omitempty"` // also service:NAME
	PID               string            `json:"pid,omitempty"` // also service:NAME
	UTS               string            `json:"uts,omitempty"`
	Cgroup            string            `json:"cgroup,omitempty"`
	CgroupParent      string            `json:"cgroup_parent,omitempty"`
	Runtime           string            `json:"runtime,omitempty"`
	Isolation         string            `json:"isolation,omitempty"`
	Devices           []Device          `json:"devices,omitempty"`
	DeviceCgroupRules []string          `json:"device_cgroup_rules,omitempty"`
	DeviceRequests    []DeviceRequest   `json:"device_requests,omitempty"` // gpus, deploy.resources.reservations.devices
	Ulimits           []Ulimit          `json:"ulimits,omitempty"`
	StorageOpt        map[string]string `json:"storage_opt,omitempty"`
	Resources         Resources         `json:"resources,omitzero"`

	// What follows says how the service is run, not what its container is
	// made from: it is not part of the hash.

	Replicas    int          `json:"replicas,omitempty"`     // containers wanted; 0 only for scale: 0
	UpdateOrder string       `json:"update_order,omitempty"` // "" or stop-first, start-first
	DependsOn   []Dependency `json:"depends_on,omitempty"`   // sorted by service
	// Job says that exit code 0 is success and the end: some other service
	// waits for this one with service_completed_successfully, or its restart
	// policy is written as "no" or on-failure.
	Job bool `json:"job,omitempty"`
	// Locks are files, as paths in the container, on which no process may hold
	// a lock any more before a replacement is started: the proof that a single
	// writer let go (upgrade.locks).
	Locks []string `json:"locks,omitempty"`
}

// MayEnd reports whether the service's process may end with 0 for good: it is
// a job, or no restart policy would start it again. Whether one without a
// policy is a server or a one-shot shows when it is first started.
func (s Service) MayEnd() bool {
	switch s.Restart.Name {
	case "", "no", "on-failure":
		return true
	}
	return s.Job
}

// Port publishes a container port. Published is empty for an ephemeral one; it
// is a single port (ranges are expanded by the loader) unless the engine is to
// choose from a range ("8000-8010").
type Port struct {
	Target    uint16 `json:"target"`
	Published string `json:"published,omitempty"`
	HostIP    string `json:"host_ip,omitempty"`
	Protocol  string `json:"protocol,omitempty"` // tcp when empty
}

// ServiceNetwork is how a service is attached to one network of the Spec.
type ServiceNetwork struct {
	Network      string            `json:"network"` // key in Spec.Networks
	Aliases      []string          `json:"aliases,omitempty"`
	IPv4         string            `json:"ipv4,omitempty"`
	IPv6         string            `json:"ipv6,omitempty"`
	LinkLocalIPs []string          `json:"link_local_ips,omitempty"`
	MacAddress   string            `json:"mac_address,omitempty"`
	GwPriority   int               `json:"gw_priority,omitempty"`
	Priority     int               `json:"priority,omitempty"`
	DriverOpts   map[string]string `json:"driver_opts,omitempty"`
}

// MountType says where the bytes of a mount come from.
type MountType string

const (
	// MountVolume is a named volume (Source: key in Spec.Volumes) or, without
	// a source, an anonymous one.
	MountVolume MountType = "volume"
	// MountBind is an absolute path of the host.
	MountBind MountType = "bind"
	// MountTmpfs lives in memory.
	MountTmpfs MountType = "tmpfs"
	// MountTracked is configuration from the repository (or a compose config
	// or secret), mounted read-only. Source is the key in Spec.Files, which
	// is the hash of the content: the path of the mount changes when and only
	// when the content does (law 11).
	MountTracked MountType = "tracked"
	// MountWork is a relative path that the container may write to. It lives
	// under the instance's work directory, never under a checkout. Seed is
	// the key in Spec.Files of what the repository holds there, if anything.
	MountWork MountType = "work"
	// MountImage is the root of an image (Source: its reference).
	MountImage MountType = "image"
)

// Mount is one entry of a container's file system.
type Mount struct {
	Type        MountType         `json:"type"`
	Source      string            `json:"source,omitempty"`
	Seed        string            `json:"seed,omitempty"`
	Target      string            `json:"target"`
	ReadOnly    bool              `json:"read_only,omitempty"`
	Propagation string            `json:"propagation,omitempty"`
	SELinux     string            `json:"selinux,omitempty"`     // z or Z
	Consistency string            `json:"consistency,omitempty"` // carried for completeness; Linux engines ignore it
	CreateHost  bool              `json:"create_host,omitempty"` // make a missing host path (short syntax does)
	Recursive   string            `json:"recursive,omitempty"`   // bind: disabled, enabled, writable, readonly
	NoCopy      bool              `json:"no_copy,omitempty"`
	Subpath     string            `json:"subpath,omitempty"`
	TmpfsSize   int64             `json:"tmpfs_size,omitempty"` // bytes
	TmpfsMode   uint32            `json:"tmpfs_mode,omitempty"`
	TmpfsOpts   string            `json:"tmpfs_opts,omitempty"` // the text after the colon of a short tmpfs entry
	Labels      map[string]string `json:"labels,omitempty"`
}

// Healthcheck overrides the one of the image. Zero durations mean the image's.
type Healthcheck struct {
	Disable       bool          `json:"disable,omitempty"`
	Test          []string      `json:"test,omitempty"` // CMD …, CMD-SHELL …
	Interval      time.Duration `json:"interval,omitempty"`
	Timeout       time.Duration `json:"timeout,omitempty"`
	StartPeriod   time.Duration `json:"start_period,omitempty"`
	StartInterval time.Duration `json:"start_interval,omitempty"`
	Retries       int           `json:"retries,omitempty"`
}

// Restart is the engine's restart policy. An empty name is the default, "no".
type Restart struct {
	Name       string `json:"name,omitempty"` // "", no, always, unless-stopped, on-failure
	MaxRetries int    `json:"max_retries,omitempty"`
}

// Logging is the engine's log driver and its options.
type Logging struct {
	Driver  string            `json:"driver,omitempty"`
	Options map[string]string `json:"options,omitempty"`
}

// Device is a device node of the host.
type Device struct {
	Host        string `json:"host"`
	Container   string `json:"container,omitempty"`
	Permissions string `json:"permissions,omitempty"`
}

// DeviceRequest asks a device driver (nvidia, cdi) for devices.
type DeviceRequest struct {
	Driver       string            `json:"driver,omitempty"`
	Count        int               `json:"count,omitempty"` // -1 is all
	IDs          []string          `json:"ids,omitempty"`
	Capabilities []string          `json:"capabilities,omitempty"`
	Options      map[string]string `json:"options,omitempty"`
}

// Ulimit is a resource limit of the process.
type Ulimit struct {
	Name string `json:"name"`
	Soft int64  `json:"soft"`
	Hard int64  `json:"hard"`
}

// Resources are the limits of the container's cgroup. Bytes, shares, 1e-9 CPUs.
type Resources struct {
	NanoCPUs          int64    `json:"nano_cpus,omitempty"`
	CPUCount          int64    `json:"cpu_count,omitempty"`
	CPUPercent        int64    `json:"cpu_percent,omitempty"`
	CPUShares         int64    `json:"cpu_shares,omitempty"`
	CPUPeriod         int64    `json:"cpu_period,omitempty"`
	CPUQuota          int64    `json:"cpu_quota,omitempty"`
	CPURealtimePeriod int64    `json:"cpu_rt_period,omitempty"`  // microseconds
	CPURealtimeRun    int64    `json:"cpu_rt_runtime,omitempty"` // microseconds
	CPUSet            string   `json:"cpuset,omitempty"`
	Memory            int64    `json:"memory,omitempty"`
	MemoryReservation int64    `json:"memory_reservation,omitempty"`
	MemorySwap        int64    `json:"memory_swap,omitempty"` // -1 is unlimited
	MemorySwappiness  *int64   `json:"memory_swappiness,omitempty"`
	OOMKillDisable    bool     `json:"oom_kill_disable,omitempty"`
	OOMScoreAdj       int      `json:"oom_score_adj,omitempty"`
	PidsLimit         int64    `json:"pids_limit,omitempty"` // -1 is unlimited
	BlkioWeight       uint16   `json:"blkio_weight,omitempty"`
	BlkioWeightDevice []string `json:"blkio_weight_device,omitempty"` // "path:weight"
	DeviceReadBps     []string `json:"device_read_bps,omitempty"`     // "path:rate"
	DeviceReadIOps    []string `json:"device_read_iops,omitempty"`
	DeviceWriteBps    []string `json:"device_write_bps,omitempty"`
	DeviceWriteIOps   []string `json:"device_write_iops,omitempty"`
}

// Condition is what a dependent waits for.
type Condition string

// The conditions of compose's depends_on.
const (
	Started   Condition = "service_started"
	Healthy   Condition = "service_healthy"
	Completed Condition = "service_completed_successfully"
)

// Dependency is one entry of depends_on. Restart asks for the dependent to be
// restarted when the dependency was replaced. An optional dependency (Required
// false) that is absent or fails does not hold the dependent back.
type Dependency struct {
	Service   string    `json:"service"`
	Condition Condition `json:"condition"`
	Restart   bool      `json:"restart,omitempty"`
	Required  bool      `json:"required,omitempty"`
}
