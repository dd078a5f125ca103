package registry

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/fairlead/fairlead/release"
)

const (
	checkEvery = time.Hour   // of version and deprecation
	retryCheck = time.Minute // when that failed, or the version's tag is still to come
	settling   = 30 * time.Minute

	versionLabel    = "org.opencontainers.image.version"
	maxVersionHeads = 5
	maxRetiredHeads = 16
)

// Manifests are what a tag may mean; an index is one of several platforms.
var manifestTypes = []string{string(types.OCIImageIndex), string(types.DockerManifestList), string(types.OCIManifestSchema1), string(types.DockerManifestSchema2)}

// learn makes the head what a platform gets, when its bytes are what its digest
// says and the platform is among them. What else can be told of it must not
// fail the answer.
func (c *Client) learn(ctx context.Context, tag name.Tag, rec *record, platform string) error {
	now := time.Now()
	f := rec.Facts[platform]
	if f.Digest != rec.Head {
		if f.RefusedDigest == rec.Head {
			return nil // the same bytes: refused again
		}
		child, refused, err := c.fitting(ctx, tag.Repository, rec.Head, platform)
		if err != nil {
			return err
		}
		next := fact{Digest: rec.Head, Seen: rec.firstSeen(rec.Head, now)}
		if refused == "" {
			refused = c.describe(ctx, tag, &next, child, platform)
		}
		if refused != "" {
			f.Refused, f.RefusedDigest, f.RefusedSince = refused, rec.Head, now
			rec.Facts[platform] = f
			return nil
		}
		f = next
	} else {
		f.Refused, f.RefusedDigest, f.RefusedSince = "", "", time.Time{}
	}
	if f.Seen.After(now) { // the clock was set back
		f.Seen = now
	}
	c.check(ctx, tag, &f, platform, now)
	rec.Facts[platform] = f
	return nil
}

// firstSeen is when the tag first meant a digest; a tag that goes back does not
// make the digest young again.
func (r *record) firstSeen(digest string, now time.Time) time.Time {
	for _, f := range r.Facts {
		if f.Digest == digest && !f.Seen.IsZero() {
			return f.Seen
		}
	}
	for _, p := range r.Past {
		if p.Digest == digest {
			return p.Seen
		}
	}
	return now
}

// chosen is the manifest of a platform. One that stands alone does not say for
// which it is: the image's configuration does.
type chosen struct {
	*v1.Manifest
	alone bool
}

// fitting is the manifest of a platform; refused says why there is none.
func (c *Client) fitting(ctx context.Context, repo name.Repository, digest, platform string) (child chosen, refused string, err error) {
	b, err := c.content(ctx, repo, "manifests", digest)
	if err != nil {
		return chosen{}, "", err
	}
	kind := mediaType(b)
	switch {
	case slices.Contains([]types.MediaType{types.OCIImageIndex, types.DockerManifestList}, kind):
		return c.fittingIn(ctx, repo, b, platform)
	case kind == types.DockerManifestSchema1 || kind == types.DockerManifestSchema1Signed:
		return chosen{}, "it is an image of the oldest format (schema 1), which engines no longer take; push it again", nil
	}
	m, err := v1.ParseManifest(bytes.NewReader(b))
	if err != nil || m.Config.Digest.Hex == "" {
		return chosen{}, fmt.Sprintf("%s is neither an image nor an index of images", shortDigest(digest)), nil
	}
	return chosen{m, true}, "", nil
}

func (c *Client) fittingIn(ctx context.Context, repo name.Repository, index []byte, platform string) (chosen, string, error) {
	idx, err := v1.ParseIndexManifest(bytes.NewReader(index))
	if err != nil {
		return chosen{}, "its index of platforms cannot be read", nil
	}
	desc, there := pick(idx.Manifests, platform)
	if desc == nil {
		return chosen{}, fmt.Sprintf("there is no image for %s in it, only for %s; have it built for this machine or follow another tag",
			platform, strings.Join(there, ", ")), nil
	}
	b, err := c.content(ctx, repo, "manifests", desc.Digest.String())
	if err != nil {
		return chosen{}, "", err
	}
	m, err := v1.ParseManifest(bytes.NewReader(b))
	if err != nil {
		return chosen{}, "the manifest for " + platform + " cannot be read", nil
	}
	return chosen{m, false}, "", nil
}

// describe reads the image's own configuration. It returns why the image is not
// for the platform, when it is not.
func (c *Client) describe(ctx context.Context, tag name.Tag, f *fact, m chosen, platform string) (refused string) {
	b, err := c.content(ctx, tag.Repository, "blobs", m.Config.Digest.String())
	if err != nil {
		return "" // it is read when the version is checked again
	}
	f.Described = true
	cfg, err := v1.ParseConfigFile(bytes.NewReader(b))
	if err != nil {
		return "" // an artifact that is no image tells nothing
	}
	if m.alone && !runsOn(cfg.OS, cfg.Architecture, cfg.Variant, platform) {
		return fmt.Sprintf("it is an image for %s, and this is %s; have it built for this machine or follow another tag "+
			"(where the engine emulates it, say platform: on the service)", clean(cfg.Platform().String(), nil), platform)
	}
	if created := cfg.Created.Time; created.Year() >= 2000 && !created.After(time.Now()) {
		f.Created = created.UTC()
	}
	if v, err := release.Parse(cfg.Config.Labels[versionLabel]); err == nil {
		f.Version = v.String()
	}
	if t, err := release.ParseTag(tag.TagStr()); err == nil && !t.Version.IsZero() {
		f.Version = t.Version.String()
	}
	return ""
}

// check looks up, now and then, which version a digest is and whether it was
// retired. What was known stays when that fails.
func (c *Client) check(ctx context.Context, tag name.Tag, f *fact, platform string, now time.Time) {
	wait := checkEvery
	if f.Checked.Before(f.Tried) || !f.Described || (f.Version == "" && now.Sub(f.Seen) < settling) {
		wait = retryCheck
	}
	if now.Sub(f.Tried) < wait-wait/8 && !f.Tried.After(now) { // questions come up to a tenth early
		return
	}
	f.Tried = now
	if !f.Described {
		if m, refused, err := c.fitting(ctx, tag.Repository, f.Digest, platform); err == nil && refused == "" {
			if refused = c.describe(ctx, tag, f, m, platform); refused != "" { // it could not be read before
				*f = fact{Refused: refused, RefusedDigest: f.Digest, RefusedSince: now}
				return
			}
		}
	}
	tags, listErr := c.tags(ctx, tag.Repository)
	var versionErr error
	if f.Version == "" {
		f.Version, versionErr = c.versionOf(ctx, tag, f.Digest, tags)
	}
	retired, retiredErr := c.retired(ctx, tag.Repository, *f, tags)
	if retired != "" || (listErr == nil && retiredErr == nil) {
		f.Deprecated = retired
	}
	if listErr == nil && versionErr == nil && retiredErr == nil && f.Described {
		f.Checked = now
	}
}

// versionOf finds the digest among the newest versions of the tag's channel.
func (c *Client) versionOf(ctx context.Context, tag name.Tag, digest string, tags []string) (string, error) {
	t, err := release.ParseTag(tag.TagStr())
	if err != nil {
		return "", nil // the registry took it nevertheless
	}
	if !t.Version.IsZero() {
		return t.Version.String(), nil
	}
	versions := release.Versions(tags, t.Channel)
	for _, v := range versions[:min(len(versions), maxVersionHeads)] {
		got, err := c.digestOf(ctx, tag.Repository, release.NumberedTag(t.Channel, v))
		if err != nil {
			return "", err
		}
		if got == digest {
			return v.String(), nil
		}
	}
	return "", nil
}

// retired is the deprecated tag of a digest: the one of its version, or any
// that is the same digest.
func (c *Client) retired(ctx context.Context, repo name.Repository, f fact, tags []string) (string, error) {
	if v, err := release.Parse(f.Version); err == nil {
		own := release.NumberedTag(release.Deprecated, v)
		got, err := c.digestOf(ctx, repo, own)
		if err != nil || got != "" {
			return nameIf(err == nil, own), err
		}
	}
	all := release.Deprecations(tags)
	for _, name := range all[:min(len(all), maxRetiredHeads)] {
		got, err := c.retiredDigest(ctx, repo, name)
		if err != nil {
			return "", err
		}
		if got == f.Digest {
			return name, nil
		}
	}
	return "", nil
}

func nameIf(yes bool, name string) string {
	if yes {
		return name
	}
	return ""
}

// digestOf is the digest of a tag at the registry itself; empty when there is
// no such tag.
func (c *Client) digestOf(ctx context.Context, repo name.Repository, tag string) (string, error) {
	a, err := c.headAt(ctx, endpoint{repo: repo}, tag, "")
	if isMissing(err) {
		return "", nil
	}
	return a.digest, err
}

// content gets what a digest names, from a mirror or the registry: whoever
// serves it, the bytes must be those of the digest.
func (c *Client) content(ctx context.Context, repo name.Repository, kind, digest string) ([]byte, error) {
	ends, err := c.endpoints(repo)
	if err != nil {
		return nil, err
	}
	var errs error
	for i := range ends {
		end := ends[(i+1)%len(ends)] // mirrors first, the registry last
		b, err := c.contentAt(ctx, end, kind, digest, len(ends)-i)
		if err == nil {
			return b, nil
		}
		errs = both(errs, err)
	}
	return nil, errs
}

func (c *Client) contentAt(ctx context.Context, end endpoint, kind, digest string, left int) ([]byte, error) {
	ctx, cancel := share(ctx, left)
	defer cancel()
	accept := manifestTypes
	if kind == "blobs" {
		accept = []string{"*/*"}
	}
	got, err := c.ask(ctx, end, http.MethodGet, kind+"/"+digest, accept, "")
	if err != nil {
		if isMissing(err) {
			err = broken("%s names %s and does not have it", end.repo.RegistryStr(), shortDigest(digest))
		}
		return nil, err
	}
	if sum := digestOfBytes(got.body); sum != digest {
		return nil, broken("%s serves %d bytes with digest %s for %s; they are not taken, and what is known stays",
			end.repo.RegistryStr(), len(got.body), shortDigest(sum), shortDigest(digest))
	}
	return got.body, nil
}
