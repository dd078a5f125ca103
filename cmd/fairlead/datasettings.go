package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	certsource "github.com/fairlead/fairlead/certs/source"
	"github.com/fairlead/fairlead/connectors"
)

// dataSettings say what connectors may do on this host, and what queries get.
type dataSettings struct {
	HostProcesses bool     // may programs of connectors run without a container?
	Dirs          []string // that files may be read from
	AtOnce        int      // runs at a time
	Workers       int      // query workers of an instance
	Memory        string   // of one, as DuckDB writes it
	Extensions    []string // that attached databases may use
	RemoteHosts   []string // that they may be at
	RemoteTokens  []string // names of variables that they may be given
}

var (
	memoryRegexp    = regexp.MustCompile(`^[1-9][0-9]{0,4}(MB|GB)$`)
	extensionRegexp = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	variableRegexp  = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)
)

// dataOptions are the settings of connectors and queries.
func dataOptions() []option {
	return []option{
		{flag: "connectors-host-processes", env: "FAIRLEAD_CONNECTORS_HOST_PROCESSES", key: "connectors.hostProcesses", kind: "BOOL", help: "may programs of connectors run as processes of this host, without a container? (default false)",
			set: one(func(s *settings, v string) (err error) { s.Connect.HostProcesses, err = boolean(v); return err })},
		{flag: "connectors-dir", env: "FAIRLEAD_CONNECTORS_DIRS", key: "connectors.dirs", kind: "DIR", list: true, help: "directory of this host that connectors may read files from; may be repeated (default: none)", set: setConnectorDirs},
		{flag: "connectors-at-once", env: "FAIRLEAD_CONNECTORS_AT_ONCE", key: "connectors.atOnce", kind: "NUMBER", help: "connectors that run at a time (default 2)", set: upTo(64, func(s *settings) *int { return &s.Connect.AtOnce })},
		{flag: "connectors-remote-extension", env: "FAIRLEAD_CONNECTORS_REMOTE_EXTENSIONS", key: "connectors.remote.extensions", kind: "NAME", list: true, help: "extension of DuckDB by which databases may be attached; may be repeated (default: none)",
			set: names(extensionRegexp, "is not the name of an extension; for example postgres", func(s *settings) *[]string { return &s.Connect.Extensions })},
		{flag: "connectors-remote-host", env: "FAIRLEAD_CONNECTORS_REMOTE_HOSTS", key: "connectors.remote.hosts", kind: "HOST", list: true, help: "host at which databases may be attached: HOST, HOST:PORT or *.DOMAIN; may be repeated (default: none)",
			set: names(remoteHostRegexp, "is not a host; for example db.acme.com, db.acme.com:5432 or *.acme.com", func(s *settings) *[]string { return &s.Connect.RemoteHosts })},
		{flag: "connectors-remote-token", env: "FAIRLEAD_CONNECTORS_REMOTE_TOKENS", key: "connectors.remote.tokens", kind: "NAME", list: true, help: "variable of local/.env that an attached database may be given; may be repeated (default: none)",
			set: names(variableRegexp, "is not the name of a variable; for example POSTGRES_PASSWORD", func(s *settings) *[]string { return &s.Connect.RemoteTokens })},
		{flag: "query-workers", env: "FAIRLEAD_QUERY_WORKERS", key: "query.workers", kind: "NUMBER", help: "queries of an instance that run at a time (default: the number of processors, 2 to 4)", set: upTo(64, func(s *settings) *int { return &s.Connect.Workers })},
		{flag: "query-memory", env: "FAIRLEAD_QUERY_MEMORY", key: "query.memory", kind: "SIZE", help: "memory of DuckDB for one query, as 512MB or 2GB (default 512MB)", set: matching(memoryRegexp, "is not a size; for example 512MB or 2GB", func(s *settings) *string { return &s.Connect.Memory })},
	}
}

var remoteHostRegexp = regexp.MustCompile(`^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]{0,250}[A-Za-z0-9_])?(:[0-9]{1,5})?$`)

func boolean(v string) (bool, error) {
	on, err := strconv.ParseBool(v)
	if err != nil {
		return false, errors.New("is neither true nor false")
	}
	return on, nil
}

func upTo(most int, field func(*settings) *int) func(*settings, []string) error {
	return one(func(s *settings, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > most {
			return fmt.Errorf("is not a number from 1 to %d", most)
		}
		*field(s) = n
		return nil
	})
}

func names(form *regexp.Regexp, problem string, field func(*settings) *[]string) func(*settings, []string) error {
	return func(s *settings, values []string) error {
		for _, v := range values {
			if !form.MatchString(v) {
				return fmt.Errorf("%q %s", v, problem)
			}
		}
		*field(s) = slices.Clone(values)
		return nil
	}
}

func setConnectorDirs(s *settings, values []string) error {
	for _, v := range values {
		if !filepath.IsAbs(v) || filepath.Clean(v) != v || v == "/" || strings.ContainsAny(v, "\x00\n\r") {
			return fmt.Errorf("%q is not the path of a directory, written plainly; for example /srv/exports", v)
		}
	}
	s.Connect.Dirs = slices.Clone(values)
	return nil
}

// allowDir says whether connectors may read files from a directory. One that the
// operator listed may be a link of theirs, which is permitted with its target.
func (d dataSettings) allowDir(dir string) error {
	for _, root := range d.Dirs {
		if below(root, dir) {
			return nil
		}
		if real, err := filepath.EvalSymlinks(root); err == nil && below(real, dir) {
			return nil
		}
	}
	return connectors.WithHint(fmt.Errorf("the host does not permit %s; its operator lists directories in connectors.dirs of agent.yaml", dir),
		fmt.Sprintf("on the host, write connectors: {dirs: [%q]} into /etc/fairlead/agent.yaml (or start fairlead run with --connectors-dir %s), start the daemon anew, and try again", dir, dir))
}

func below(root, dir string) bool {
	rel, err := filepath.Rel(root, dir)
	return err == nil && filepath.IsLocal(rel)
}

// allowConnection says whether connectors may ask a host, and, with a valid
// address, connect to it there: what is so of references is so of them.
func (f fetchSettings) allowConnection(host string, at netip.Addr) error {
	if err := f.allowHost(host); err != nil {
		return err
	}
	if !at.IsValid() {
		return nil
	}
	return certsource.PermitsAddress(at, f.names(host))
}

// names says whether the operator listed a host as it is, and not by a wildcard,
// which may then be this machine: others say what their names resolve to.
func (f fetchSettings) names(host string) bool {
	return slices.ContainsFunc(f.AllowedHosts, func(entry string) bool {
		if h, _, err := net.SplitHostPort(entry); err == nil {
			entry = h
		}
		return strings.EqualFold(strings.Trim(entry, "[]"), host)
	})
}

// reach is what connectors may connect to.
func (f fetchSettings) reach() (connectors.Reach, error) {
	roots, err := f.roots()
	return connectors.Reach{Allow: f.allowConnection, Proxy: f.proxy(), Roots: roots}, err
}

// maxRoots bounds the file of a private authority's certificates.
const maxRoots = 1 << 20

// roots are the authorities that are trusted for what is fetched; nil: the
// system's alone.
func (f fetchSettings) roots() (*x509.CertPool, error) {
	if f.CAFile == "" {
		return nil, nil
	}
	text, err := readBounded(f.CAFile, maxRoots)
	if err != nil {
		return nil, fmt.Errorf("read fetch.caFile: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a host without any of its own
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read fetch.caFile %s: it holds no certificate in PEM", f.CAFile)
	}
	return pool, nil
}
