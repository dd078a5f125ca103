package registry

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// PushIndex pushes an index of one image a platform, "os/arch[/variant]", as repo:tag. The program in each is that of
// this processor, whatever its platform says. digest is that of the index.
func (r *Registry) PushIndex(ctx context.Context, repo, tag string, apps map[string]App) (ref, digest string, err error) {
	ref = r.Ref(repo, tag)
	to, err := name.NewTag(ref, name.Insecure)
	if err != nil {
		return "", "", fmt.Errorf("push index %s: %w", ref, err)
	}
	var index v1.ImageIndex = empty.Index
	for _, platform := range slices.Sorted(maps.Keys(apps)) {
		img, err := r.Image(ctx, apps[platform])
		if err != nil {
			return "", "", fmt.Errorf("push index %s: %w", ref, err)
		}
		parts := append(strings.SplitN(platform, "/", 3), "", "")
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}}})
	}
	hash, err := index.Digest()
	if err != nil {
		return "", "", fmt.Errorf("push index %s: %w", ref, err)
	}
	err = remote.WriteIndex(to, index, remote.WithContext(ctx), remote.WithAuth(r.auth()), remote.WithTransport(r.direct()))
	if err != nil {
		return "", "", fmt.Errorf("push index %s: %w", ref, err)
	}
	return ref, hash.String(), nil
}

// Tag makes tag mean what from, a tag or a digest, means in the repository.
func (r *Registry) Tag(ctx context.Context, repo, from, tag string) error {
	source := r.Ref(repo, from)
	if strings.Contains(from, ":") {
		source = r.RefDigest(repo, from)
	}
	src, err := name.ParseReference(source, name.Insecure)
	if err != nil {
		return fmt.Errorf("tag %s: %w", source, err)
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuth(r.auth()), remote.WithTransport(r.direct())}
	desc, err := remote.Get(src, options...)
	if err == nil {
		err = remote.Tag(src.Context().Tag(tag), desc, options...)
	}
	if err != nil {
		return fmt.Errorf("tag %s as %s: %w", source, tag, err)
	}
	return nil
}

// Untag removes a tag; what it meant stays.
func (r *Registry) Untag(ctx context.Context, repo, tag string) error {
	ref, err := name.NewTag(r.Ref(repo, tag), name.Insecure)
	if err == nil {
		err = remote.Delete(ref, remote.WithContext(ctx), remote.WithAuth(r.auth()), remote.WithTransport(r.direct()))
	}
	if err != nil {
		return fmt.Errorf("remove tag %s: %w", tag, err)
	}
	return nil
}

// Transport serves requests in this process, without the network, as the network would be served: with log,
// middleware, faults and authentication.
func (r *Registry) Transport() http.RoundTripper { return handlerTransport{handler: r.outer()} }
