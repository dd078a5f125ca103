package desired

import "io/fs"

// Input is what an instance is loaded from.
type Input struct {
	Tree  fs.FS  // the repository at one revision
	Dir   string // the instance's directory in Tree; "." is the root
	Local fs.FS  // host-only files that lie over Dir; nil when there are none
	// RootName names an instance at the root of Tree that no file names: the
	// name of the repository's directory. It may be empty.
	RootName string
	// AnyHost says that the load is for no host in particular, as a check
	// before a commit is: secret references are checked and left as written.
	AnyHost bool
	// Compose reads the compose files (desired/compose.Load).
	Compose ComposeLoader
	// Bounds are the host's own, which count beside those of instance.yaml.
	Bounds []Bounds
	// Private and Shared are those of the host, for the bounds of instance.yaml.
	Private, Shared []string
	// Real says where a path of the host leads when its links are followed; nil:
	// nobody can tell, and it is taken as it is written.
	Real func(string) (string, error)
	// Signers says what is wrong with a file of allowed signers, as Problems
	// (desired/git.CheckSigners); nil: policy.allowedSigners is a problem.
	Signers func(file string, data []byte) error
	// Secrets reads secrets.enc.yaml (desired/secrets.Reader); nil: one that is
	// there is a problem.
	Secrets Secrets
}

// ComposeLoader turns the compose files of an instance into a Project. What is
// wrong with the files is returned as Problems, all at once; any other error
// means that they could not be read.
type ComposeLoader func(ComposeInput) (Project, error)

// ComposeInput tells a ComposeLoader which files to read and how.
type ComposeInput struct {
	Tree     fs.FS
	Dir      string
	Local    fs.FS
	Name     string            // the instance's name: compose's project name
	Files    []string          // relative to Dir; empty: compose.yaml and its kin, with its override
	Profiles []string          // active profiles
	Env      map[string]string // compose.env of instance.yaml, as written; stronger than .env
	NoFiles  bool              // there are none, and only .env is read
	Bounds   []Bounds          // that the services must keep
	Real     func(string) (string, error)
	// Fill is called once with the variables of the .env file when it is the
	// host's own. What it gives is used in place of Env. Nil: Env is used.
	Fill func(host map[string]string) ComposeValues
}

// ComposeValues are the values of secrets for compose files.
type ComposeValues struct {
	Env       map[string]string // compose.env with its secrets filled in
	Sensitive []string          // of Env
	// Secret is the value of a ${secret:NAME}; false: there is none.
	Secret func(name string) (string, bool)
}

// Project is what the compose files of an instance say.
type Project struct {
	Services  map[string]Service
	Networks  map[string]Network
	Volumes   map[string]Volume
	Files     map[string]FileTree
	Sensitive []string
	Notes     []string
	// HostEnv are the variables of the .env file when it is the host's own:
	// the values of secret references.
	HostEnv map[string]string
}

// Secrets reads secrets.enc.yaml (desired/secrets.Reader). What is wrong with a
// file is returned as Problems with file as the name; any other error means
// that it could not be read.
type Secrets interface {
	// Names lists the names of the values, which need no key.
	Names(file string, data []byte) ([]string, error)
	// Open decrypts the values with the keys of this host.
	Open(file string, data []byte) (map[string]string, error)
}
