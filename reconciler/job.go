package reconciler

// Job is a container that runs once, beside the services of an instance, and
// is removed when it ended. It gets nothing of the host but its mounts.
type Job struct {
	Instance string
	Source   string // whose run it is; a source has one job at a time
	Image    string // that is on the engine, best by its ID
	// Entrypoint and Command take the place of the image's own when there are any.
	Entrypoint []string
	Command    []string
	Env        []string // NAME=value, besides what the image sets
	Dir        string   // working directory; empty: the image's
	User       string   // uid:gid
	Mounts     []JobMount
	Tmp        int64 // bytes of /tmp, in memory
	Network    bool  // without it there is only loopback
	Memory     int64 // bytes, of which no swap; 0: unbounded
	CPUs       float64
	Pids       int64
	MaxFile    int64 // bytes of one file that it writes; 0: unbounded
}

// JobMount is a file or directory of this host in a Job's container.
type JobMount struct {
	Source, Target string
	Writable       bool
}

// JobImage is what an image says about jobs that are made from it.
type JobImage struct {
	ID       string
	UID, GID int  // as whom it runs
	Runs     bool // it has a command of its own
}

// JobEnd is how a Job ended by itself.
type JobEnd struct {
	ExitCode    int
	OutOfMemory bool
}
