package files

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/google"
	"github.com/fairlead/fairlead/connectors/internal/rest"
	"github.com/fairlead/fairlead/desired"
)

// Settings say what is read, as whom, and what the host permits.
type Settings struct {
	desired.FilesSource
	// Paths are the paths of all tables of the connector, also of those that a job
	// is not for: headers without a host may then go to the one host that they
	// name. Discover looks at them beside Dir.
	Paths []string
	// AllowDir says whether the host permits a directory. Nil: it permits none. It
	// is asked about Dir, and about the directory that links on the way to it lead to.
	AllowDir func(dir string) error
	// AllowHost says whether the host permits a name, and, with a valid address, a
	// connection to it there. Nil: it permits none. The public endpoints of AWS and
	// Google are not asked about.
	AllowHost func(host string, at netip.Addr) error
	// Proxy is what requests go through; nil: nothing.
	Proxy func(*http.Request) (*url.URL, error)
	// Roots are trusted for https; nil: the system's.
	Roots *x509.CertPool
	// Env is the environment that AWS's variables are looked up in; nil: none.
	Env func(name string) (string, bool)
	// Endpoints are where clouds are asked who this machine is; empty: their own.
	Endpoints Endpoints
	// MaxBytes bounds what is read of one table, uncompressed; 1 TiB when it is 0.
	MaxBytes int64
	// MaxFiles bounds the files of one table; 10,000 when it is 0.
	MaxFiles int
}

// Endpoints are the services that give credentials.
type Endpoints struct{ GoogleToken, GoogleMetadata, AWSMetadata string }

// Source reads files.
type Source struct {
	settings Settings
	// web is for hosts that git names, which the host is asked about; cloud for
	// the public endpoints of AWS and Google.
	web, cloud *rest.Client
	headers    []header
	s3         *s3
	gs         *gs
}

var headerRegexp = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)

// header goes to one host, or, when that is empty, to the only one there is.
type header struct{ host, name, value string }

var _ connectors.Source = (*Source)(nil)

// New checks settings; it asks nobody.
func New(settings Settings) (*Source, error) {
	s, err := open(settings)
	if err != nil {
		return nil, fmt.Errorf("check files settings: %w", err)
	}
	return s, nil
}

func open(settings Settings) (*Source, error) {
	if settings.MaxBytes < 0 || settings.MaxFiles < 0 {
		return nil, errors.New("MaxBytes and MaxFiles must not be negative")
	}
	settings.MaxBytes = cmp.Or(settings.MaxBytes, int64(1)<<40)
	settings.MaxFiles = cmp.Or(settings.MaxFiles, 10_000)
	if settings.AllowHost == nil {
		settings.AllowHost = func(string, netip.Addr) error { return errors.New("this host permits no other") }
	}
	if settings.Env == nil {
		settings.Env = func(string) (string, bool) { return "", false }
	}
	s := &Source{settings: settings}
	if err := s.checkDir(); err != nil {
		return nil, err
	}
	if err := s.readHeaders(); err != nil {
		return nil, err
	}
	var secrets []string
	for _, h := range s.headers {
		secrets = append(append(secrets, h.value), strings.Fields(h.value)...)
	}
	secrets = slices.DeleteFunc(secrets, func(s string) bool { return len(s) < 8 }) // "Bearer" is none
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	s.web = rest.Guarded(settings.AllowHost, settings.Proxy, secrets...)
	s.web.Trusting(settings.Roots)
	s.cloud = rest.New().Through(settings.Proxy, settings.Roots)
	s.web.HTTP.CheckRedirect = sameHost
	var err error
	if s.s3, err = s.openS3(); err != nil {
		return nil, err
	}
	s.gs, err = s.openGS()
	return s, err
}

func (s *Source) checkDir() error {
	dir := s.settings.Dir
	switch {
	case dir == "":
		return nil
	case !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || strings.ContainsRune(dir, 0):
		return errors.New("dir: is not an absolute path that is written plainly; for example /srv/data")
	case s.settings.AllowDir == nil:
		return errors.New("dir: this host permits no directory")
	}
	if err := s.settings.AllowDir(dir); err != nil {
		return fmt.Errorf("dir: %w", err)
	}
	return nil
}

// readHeaders takes NAME and HOST/NAME.
func (s *Source) readHeaders() error {
	for _, key := range slices.Sorted(maps.Keys(s.settings.Headers)) {
		h := header{name: key, value: s.settings.Headers[key]}
		if host, name, both := strings.Cut(key, "/"); both {
			h.host, h.name = strings.ToLower(host), name
		}
		if !headerRegexp.MatchString(h.name) || slices.Contains([]string{"Host", "Range", "If-Range", "If-Match", "Content-Length", "Connection", "Transfer-Encoding"}, http.CanonicalHeaderKey(h.name)) {
			return fmt.Errorf("headers: %q is no name of a header that may be set; write Authorization, or data.acme.com/Authorization", key)
		}
		if h.value == "" || strings.ContainsFunc(h.value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return connectors.WithHint(fmt.Errorf("headers: the value of %s is empty or holds a line's end", key), "Set the secret that it names on this host")
		}
		s.headers = append(s.headers, h)
	}
	_, err := s.onlyHost(nil)
	return err
}

// onlyHost is the one host that headers without a host go to. Two hosts are an
// error: a token would go to a host that it is not for.
func (s *Source) onlyHost(specs []connectors.TableSpec) (string, error) {
	if !slices.ContainsFunc(s.headers, func(h header) bool { return h.host == "" }) {
		return "", nil
	}
	paths, only := slices.Clone(s.settings.Paths), ""
	for _, spec := range specs {
		paths = append(paths, pathsOf(spec)...)
	}
	for _, path := range paths {
		p, err := parsePlace(path)
		if err != nil || p.scheme != "https" {
			continue
		}
		if only != "" && only != p.url.Host {
			return "", fmt.Errorf("headers: the tables are at %s and %s; say which a header is for, as %s/NAME", only, p.url.Host, only)
		}
		only = p.url.Host
	}
	return only, nil
}

// tokens are those of a service account for reading Cloud Storage.
func (s *Source) tokens(key string) (*google.Tokens, error) {
	e := s.settings.Endpoints
	return google.New(google.Options{Key: key, Scopes: []string{"https://www.googleapis.com/auth/devstorage.read_only"}, Token: e.GoogleToken, Metadata: e.GoogleMetadata,
		Proxy: s.settings.Proxy, Roots: s.settings.Roots})
}
