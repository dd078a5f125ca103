package desired

import (
	"fmt"
	"regexp"
	"strings"
)

// The grammar of image references, after github.com/distribution/reference.
const (
	refDomain     = `(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?`
	refComponent  = `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`
	refRepository = `(?:` + refDomain + `/)?` + refComponent + `(?:/` + refComponent + `)*`
	refTag        = `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
	refDigest     = `sha256:[0-9a-f]{64}`
)

var refRegexp = regexp.MustCompile(`^(` + refRepository + `)(?::(` + refTag + `))?(?:@(` + refDigest + `))?$`)

// ImageRef is an image reference in its parts. Repository is as written.
type ImageRef struct{ Repository, Tag, Digest string }

// ParseImageRef splits REPOSITORY[:TAG][@DIGEST].
func ParseImageRef(s string) (ImageRef, error) {
	m := refRegexp.FindStringSubmatch(s)
	if m == nil || len(m[1]) > 255 {
		return ImageRef{}, fmt.Errorf("%q is not an image reference", clip(s))
	}
	return ImageRef{Repository: m[1], Tag: m[2], Digest: m[3]}, nil
}

// String is the reference as the engine takes it.
func (r ImageRef) String() string {
	s := r.Repository
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// CanonicalRepository spells out what the engine adds by itself: redis is
// docker.io/library/redis.
func CanonicalRepository(repository string) string {
	domain, rest, found := strings.Cut(repository, "/")
	if !found || !strings.ContainsAny(domain, ".:[") && domain != "localhost" && domain == strings.ToLower(domain) {
		domain, rest = "docker.io", repository
	}
	if domain == "index.docker.io" {
		domain = "docker.io"
	}
	if domain == "docker.io" && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	return domain + "/" + rest
}
