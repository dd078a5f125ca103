package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/git"
	"github.com/fairlead/fairlead/reconciler/docker"
)

// settings are the host's own configuration: flags, variables and agent.yaml,
// in that order of strength.
type settings struct {
	Repo       string
	Ref        string
	Paths      []string
	Auth       git.Auth
	Push       bool
	Poll       time.Duration
	Data       string
	DockerHost string
	DockerTLS  string // directory of certificates; empty: none
	LogFormat  string
	AgeKeyFile string // empty: the key is made in the data directory
	Front      frontSettings
	Registry   registrySettings
	Fetch      fetchSettings
	Connect    dataSettings
	Notices    noticeSettings
	Server     serverSettings
	Policy     policySettings

	repoGiven bool // by a flag or a variable, not by a file
}

const (
	defaultConfig = "/etc/fairlead/agent.yaml"
	defaultData   = "/var/lib/fairlead"
	defaultPoll   = time.Minute
)

func defaultSettings() settings {
	return settings{Data: defaultData, Poll: defaultPoll, DockerHost: docker.DefaultHost, LogFormat: "text",
		Front:  frontSettings{HTTP: defaultHTTP, HTTPS: defaultHTTPS, Connections: defaultConnections, ConnectionsPerClient: defaultConnectionsPerClient},
		Server: serverSettings{Listen: defaultListen}}
}

// option is one setting, under each of its three names.
type option struct {
	flag, env, key string
	kind           string // as the help shows it
	help           string
	list           bool
	empty          bool // the list may be
	set            func(s *settings, values []string) error
}

func one(set func(s *settings, v string) error) func(*settings, []string) error {
	return func(s *settings, values []string) error { return set(s, values[len(values)-1]) }
}

func text(field func(*settings) *string) func(*settings, []string) error {
	return one(func(s *settings, v string) error {
		if strings.ContainsAny(v, "\x00\n\r") {
			return errors.New("holds a control character")
		}
		*field(s) = v
		return nil
	})
}

func file(field func(*settings) *string) func(*settings, []string) error {
	return one(func(s *settings, v string) error {
		abs, err := filepath.Abs(v)
		if err != nil {
			return fmt.Errorf("is not a path: %w", err)
		}
		*field(s) = abs
		return nil
	})
}

// options lists the settings.
func options() []option {
	return slices.Concat(fetchOptions(), dataOptions(), serverOptions(), noticeOptions(), policyOptions(), []option{
		{flag: "repo", env: "FAIRLEAD_REPO", key: "repo", kind: "URL", help: "repository of the desired state: https://, ssh://, file:// or a path (default: a new one under --data)", set: one(setRepo)},
		{flag: "ref", env: "FAIRLEAD_REF", key: "ref", kind: "REF", help: "branch, tag or commit to follow (default: the repository's default branch)", set: text(func(s *settings) *string { return &s.Ref })},
		{flag: "path", env: "FAIRLEAD_PATH", key: "paths", kind: "GLOB", list: true, help: "directories of the instances in the repository; may be repeated (default: the root, else those below it and below instances/)", set: setPaths},
		{flag: "data", env: "FAIRLEAD_DATA", key: "data", kind: "DIR", help: "data directory (default " + defaultData + ")", set: file(func(s *settings) *string { return &s.Data })},
		{flag: "docker-host", env: "FAIRLEAD_DOCKER_HOST", key: "dockerHost", kind: "URL", help: "container engine (default " + docker.DefaultHost + ")", set: one(setDockerHost)},
		dockerTLSOption(),
		{flag: "poll", env: "FAIRLEAD_POLL", key: "poll", kind: "DURATION", help: "how often the repository is asked for something new (default 60s)", set: one(setPoll)},
		{flag: "token-file", env: "FAIRLEAD_TOKEN_FILE", key: "auth.tokenFile", kind: "FILE", help: "file with the token for an https repository", set: file(func(s *settings) *string { return &s.Auth.TokenFile })},
		{flag: "username", env: "FAIRLEAD_USERNAME", key: "auth.username", kind: "NAME", help: "user name for an https repository", set: text(func(s *settings) *string { return &s.Auth.Username })},
		{flag: "password-file", env: "FAIRLEAD_PASSWORD_FILE", key: "auth.passwordFile", kind: "FILE", help: "file with the password for an https repository", set: file(func(s *settings) *string { return &s.Auth.PasswordFile })},
		{flag: "ssh-key-file", env: "FAIRLEAD_SSH_KEY_FILE", key: "auth.sshKeyFile", kind: "FILE", help: "private key for an ssh repository", set: file(func(s *settings) *string { return &s.Auth.SSHKeyFile })},
		{flag: "known-hosts-file", env: "FAIRLEAD_KNOWN_HOSTS_FILE", key: "auth.knownHostsFile", kind: "FILE", help: "host keys of the ssh server, as in ~/.ssh/known_hosts", set: file(func(s *settings) *string { return &s.Auth.KnownHostsFile })},
		{flag: "push", env: "FAIRLEAD_PUSH", key: "push", kind: "BOOL", help: "may commits (rollback --commit) be pushed to a remote? (default false)", set: one(setPush)},
		{flag: "age-key-file", env: "FAIRLEAD_AGE_KEY_FILE", key: "secrets.keyFile", kind: "FILE", help: "age keys that secrets.enc.yaml is decrypted with (default: state/age.key under --data, made at the first start)", set: file(func(s *settings) *string { return &s.AgeKeyFile })},
		{flag: "log-format", env: "FAIRLEAD_LOG_FORMAT", key: "logFormat", kind: "FORMAT", help: "log of the daemon: text or json (default text)", set: one(setLogFormat)},
		{flag: "front-http", env: "FAIRLEAD_FRONT_HTTP", key: "front.http", kind: "ADDRESS", help: "where the front takes plain HTTP, once an instance has a front: HOST:PORT, or off (default " + defaultHTTP + ")", set: address(func(s *settings) *string { return &s.Front.HTTP })},
		{flag: "front-https", env: "FAIRLEAD_FRONT_HTTPS", key: "front.https", kind: "ADDRESS", help: "where the front takes HTTPS, once an instance has a front: HOST:PORT, or off (default " + defaultHTTPS + ")", set: address(func(s *settings) *string { return &s.Front.HTTPS })},
		{flag: "front-access-log", env: "FAIRLEAD_FRONT_ACCESS_LOG", key: "front.accessLog", kind: "NUMBER", help: "log one of so many requests; 0: none (default 0)", set: one(setAccessLog)},
		{flag: "front-connections", env: "FAIRLEAD_FRONT_CONNECTIONS", key: "front.connections", kind: "NUMBER", help: "connections of clients that each port has open at a time (default 10000)", set: one(setConnections)},
		{flag: "front-connections-per-client", env: "FAIRLEAD_FRONT_CONNECTIONS_PER_CLIENT", key: "front.connectionsPerClient", kind: "NUMBER", help: "of one IPv4 address or IPv6 /64; 0: as many as in all (default 5000)", set: one(setConnectionsPerClient)},
		{flag: "registry-ca-file", env: "FAIRLEAD_REGISTRY_CA_FILE", key: "registry.caFile", kind: "FILE", help: "certificates of a private authority that registries may use, beside the system's", set: file(func(s *settings) *string { return &s.Registry.CAFile })},
		{flag: "registry-insecure", env: "FAIRLEAD_REGISTRY_INSECURE", key: "registry.insecure", kind: "HOST", list: true, help: "registry, HOST:PORT, that may be asked by plain HTTP; may be repeated", set: setInsecure},
		{flag: "registry-mirror", env: "FAIRLEAD_REGISTRY_MIRROR", key: "registry.mirrors", kind: "HOST=URL", list: true, help: "mirror of a registry, as docker.io=https://mirror.acme.com; may be repeated", set: setMirrors},
	})
}

func setRepo(s *settings, v string) error {
	if v == "" {
		return errors.New("is empty; give a URL or a path")
	}
	if localPath(v) {
		abs, err := filepath.Abs(v)
		if err != nil {
			return fmt.Errorf("is not a path: %w", err)
		}
		v = abs
	}
	s.Repo = v
	return nil
}

// localPath says whether a repository is given as a path: it has neither a
// scheme nor the user@host: of ssh.
func localPath(repo string) bool {
	if strings.Contains(repo, "://") {
		return false
	}
	before, _, colon := strings.Cut(repo, ":")
	return !colon || strings.Contains(before, "/")
}

// local says whether the repository is read in place.
func (s settings) local() bool { return localPath(s.Repo) || strings.HasPrefix(s.Repo, "file://") }

// begins says whether the repository is the one that the daemon makes itself,
// in which there is nothing in the beginning.
func (s settings) begins() bool { return s.Repo == filepath.Join(s.Data, "repo") && len(s.Paths) == 0 }

func setPaths(s *settings, values []string) error {
	for _, v := range values {
		if v == "" {
			return errors.New("is empty")
		}
	}
	s.Paths = values
	return nil
}

func setDockerHost(s *settings, v string) error {
	if scheme, _, found := strings.Cut(v, "://"); !found || (scheme != "unix" && scheme != "tcp") {
		if scheme == "ssh" {
			return errors.New(sshEngine)
		}
		return errors.New("is not an engine's address; for example unix:///var/run/docker.sock")
	}
	s.DockerHost = v
	return nil
}

func setPoll(s *settings, v string) error {
	d, err := desired.ParseDuration(v)
	if err != nil {
		return fmt.Errorf("%w; for example 60s", err)
	}
	s.Poll = time.Duration(d)
	if s.Poll < time.Second || s.Poll > 24*time.Hour {
		return errors.New("is not between 1s and 24h")
	}
	return nil
}

func setPush(s *settings, v string) error {
	on, err := strconv.ParseBool(v)
	if err != nil {
		return errors.New("is neither true nor false")
	}
	s.Push = on
	return nil
}

func setLogFormat(s *settings, v string) error {
	if v != "text" && v != "json" {
		return errors.New("is neither text nor json")
	}
	s.LogFormat = v
	return nil
}

// given collects what was said on the command line.
type given struct{ values map[string][]string }

// flagValue is an option as a flag. It satisfies pflag.Value.
type flagValue struct {
	option
	to *given
}

func (f *flagValue) Set(v string) error {
	if !f.list {
		f.to.values[f.flag] = nil
	}
	f.to.values[f.flag] = append(f.to.values[f.flag], v)
	return nil
}

func (f *flagValue) String() string { return "" }
func (f *flagValue) Type() string   { return f.kind }

// settings puts the sources together, the weakest first.
func (c *cli) settings() (settings, error) {
	s := defaultSettings()
	if err := c.readAgentFile(&s); err != nil {
		return s, err
	}
	fromFile := s.Repo
	for _, o := range options() {
		v := c.getenv(o.env)
		if v == "" {
			continue
		}
		values := []string{v}
		if o.list {
			values = strings.Split(v, ",")
		}
		if err := o.set(&s, values); err != nil {
			return s, fmt.Errorf("%s: %w", o.env, err)
		}
	}
	for _, o := range options() {
		if values, ok := c.given.values[o.flag]; ok {
			if err := o.set(&s, values); err != nil {
				return s, fmt.Errorf("--%s: %w", o.flag, err)
			}
		}
	}
	if err := errors.Join(s.Fetch.check(), s.Server.check(s.Front), s.Policy.check(), c.checkDockerTLS(&s)); err != nil {
		return s, err
	}
	s.repoGiven = s.Repo != fromFile
	if s.Repo == "" {
		s.Repo = filepath.Join(s.Data, "repo")
	}
	return s, nil
}

// readAgentFile reads the configuration file. Only the default one may be absent.
func (c *cli) readAgentFile(s *settings) error {
	name, must := defaultConfig, false
	if v := c.getenv("FAIRLEAD_CONFIG"); v != "" {
		name, must = v, true
	}
	if c.config != "" {
		name, must = c.config, true
	}
	data, err := readBounded(name, maxAgentFile+1)
	if errors.Is(err, os.ErrNotExist) && !must {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	return parseAgentFile(name, data, s)
}
