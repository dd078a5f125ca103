package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
)

// place is where a path of a table leads.
type place struct {
	scheme  string   // file, https, s3 or gs
	url     *url.URL // https
	bucket  string   // s3 and gs
	pattern string   // of a name in the directory or bucket; a glob or not
	shown   string   // for messages and the state: without a query, where signatures are
}

var bucketRegexp = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)

// parsePlace reads a path as git has it.
func parsePlace(raw string) (p place, err error) {
	scheme, rest, remote := strings.Cut(raw, "://")
	switch {
	case strings.ContainsFunc(raw, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(raw) > 4096:
		return p, errors.New("paths: a path holds a control character, or is longer than 4096 bytes")
	case !remote:
		return localPlace(raw)
	case scheme == "https":
		return webPlace(raw)
	case scheme == "s3" || scheme == "gs":
		bucket, key, _ := strings.Cut(rest, "/")
		if !bucketRegexp.MatchString(bucket) || key == "" {
			return p, fmt.Errorf("paths: %q is not %s://BUCKET/NAME", raw, scheme)
		}
		if err := checkGlob(key); err != nil {
			return p, fmt.Errorf("paths: %q: %w", raw, err)
		}
		return place{scheme: scheme, bucket: bucket, pattern: key, shown: raw}, nil
	}
	return p, fmt.Errorf("paths: %q is neither a path in dir nor one of https://, s3:// and gs://", scheme+"://…")
}

func localPlace(raw string) (place, error) {
	name := strings.TrimPrefix(raw, "./")
	if name == "" || path.IsAbs(name) || path.Clean(name) != name || name == "." || name == ".." || strings.HasPrefix(name, "../") {
		return place{}, fmt.Errorf("paths: %q is not a path relative to dir that is written plainly; for example orders/2026-*.csv", raw)
	}
	if err := checkGlob(name); err != nil {
		return place{}, fmt.Errorf("paths: %q: %w", raw, err)
	}
	return place{scheme: "file", pattern: name, shown: name}, nil
}

func webPlace(raw string) (place, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return place{}, errors.New("paths: an https:// address does not parse, or holds a user or a fragment; tokens go into headers")
	}
	u.Host = strings.ToLower(u.Host)
	shown := rest.Address(u)
	if strings.Contains(u.Path, "*") {
		return place{}, fmt.Errorf("paths: %s: no list can be asked for over https, so there is no glob; name the files", shown)
	}
	if u.RawQuery != "" {
		shown += "?" + digest(u.RawQuery)
	}
	return place{scheme: "https", url: u, pattern: u.Path, shown: shown}, nil
}

func (p place) glob() bool { return p.scheme != "https" && isGlob(p.pattern) }

// pathsOf are the paths of a table; its ID is one when it has no others.
func pathsOf(spec connectors.TableSpec) []string {
	if len(spec.Paths) == 0 && spec.ID != "" {
		return []string{spec.ID}
	}
	return spec.Paths
}

// object is one file.
type object struct {
	place place
	name  string // in the directory or bucket; the path of an address
	shown string
	size  int64  // -1: unknown
	tag   string // another content has another; empty: unknown
	exact bool   // the store can be asked for just this content, so that reading may go on in the middle

	modified time.Time // zero: unknown
}

// store is a kind of places.
type store interface {
	// list gives the objects of a place, in any order. One that is not there is
	// errMissing when the place is no glob.
	list(ctx context.Context, p place, each func(object) error) error
	// open reads an object from an offset, and sets what was not known of it.
	// errChanged: there is another content now.
	open(ctx context.Context, o *object, offset int64) (io.ReadCloser, error)
}

var (
	errMissing = errors.New("there is no such file")
	errChanged = errors.New("the file changed while it was read")
)

func (s *Source) storeOf(p place, only string) (store, error) {
	switch p.scheme {
	case "https":
		return &web{s, only}, nil
	case "s3":
		return s.s3, nil
	case "gs":
		return s.gs, nil
	}
	if s.settings.Dir == "" {
		return nil, connectors.WithHint(fmt.Errorf("paths: %q: the connector has no dir", p.shown), "Set files.dir to the directory of the host that the paths are relative to")
	}
	return &local{s.settings.Dir, s.settings.AllowDir}, nil
}
