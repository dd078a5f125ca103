package git

import (
	"io"
	"time"

	"github.com/sirupsen/logrus"
)

// Options say which repository is followed, and how.
type Options struct {
	// Repo is https://…, ssh://… or user@host:path for a remote that is
	// mirrored; file://… or a path for a local repository that is read in
	// place. http:// is accepted, but sends credentials to loopback only.
	Repo string
	// Ref is a branch, a tag, or a commit (at least seven digits). Empty is
	// the remote's default branch, or what HEAD of a local repository is.
	Ref  string
	Auth Auth
	// Mirror is the directory of a remote's mirror. It is created when
	// missing, and refused when it holds anything else.
	Mirror string
	// Poll is how often Run looks at the repository; default one minute.
	Poll time.Duration
	// CAFile holds PEM certificates trusted beside the system's.
	CAFile string
	// Push says that commits may be pushed to a remote.
	Push bool
	// Author signs commits whose request names none.
	Author Author
	// Timeout bounds one exchange with a remote (default five minutes), Idle
	// how long it may send nothing (default one minute).
	Timeout, Idle time.Duration
	Log           *logrus.Entry
}

// Auth names the files that hold credentials. They are read again at each use,
// so that a rotated secret needs no restart.
type Auth struct {
	Username     string // default depends on the host; most accept any with a token
	PasswordFile string
	TokenFile    string
	SSHKeyFile   string
	// KnownHostsFile pins the server's host keys, in the format of OpenSSH.
	KnownHostsFile string
}

// Author is the author and committer of a commit.
type Author struct{ Name, Email string }

const (
	defaultPoll    = time.Minute
	defaultTimeout = 5 * time.Minute
	defaultIdle    = time.Minute
)

func (o Options) withDefaults() Options {
	if o.Poll <= 0 {
		o.Poll = defaultPoll
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Idle <= 0 {
		o.Idle = defaultIdle
	}
	if o.Author == (Author{}) {
		o.Author = Author{Name: "Fairlead", Email: "fairlead@localhost"}
	}
	if o.Log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		o.Log = logrus.NewEntry(quiet)
	}
	return o
}
