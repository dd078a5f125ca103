package docker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// parallelPulls bounds how many images are fetched at a time.
const parallelPulls = 3

// need is one image that the target's services want.
type need struct {
	ref, platform string
	always, never bool
	after         time.Duration // how old the last pull may be; 0: whatever is there will do
	have          bool          // there is one to go on with
}

// Prepare implements reconciler.Driver.
func (e *Engine) Prepare(ctx context.Context, t reconciler.Target, p reconciler.Progress) (map[string]reconciler.Image, error) {
	api, err := e.version(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkGates(api, t.Spec); err != nil {
		return nil, err
	}
	if err := checkLocks(t.Spec); err != nil {
		return nil, err
	}
	if err := e.checkExternal(ctx, t.Spec); err != nil {
		return nil, err
	}
	out, err := e.prepareImages(ctx, t, p)
	if err != nil {
		return nil, err
	}
	return out, e.checkReach(ctx, t, out)
}

func (e *Engine) prepareImages(ctx context.Context, t reconciler.Target, p reconciler.Progress) (map[string]reconciler.Image, error) {
	e.forgetPrepared(t.Spec.Name)
	var mu sync.Mutex
	out := map[string]reconciler.Image{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelPulls)
	for _, n := range needs(t.Spec) {
		g.Go(func() error {
			img, err := e.prepareImage(ctx, t, n, p)
			if err != nil {
				return err
			}
			e.notePrepared(t.Spec.Name, img.ID)
			mu.Lock()
			defer mu.Unlock()
			out[n.ref] = img
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

// needs lists every image of the spec once.
func needs(spec desired.Spec) []need {
	byRef := map[string]*need{}
	add := func(ref, platform, policy string, after time.Duration) {
		n := byRef[ref]
		if n == nil {
			n = &need{ref: ref, platform: platform, never: policy == "never"}
			byRef[ref] = n
		}
		n.always = n.always || policy == "always"
		n.never = n.never && policy == "never"
		if after > 0 && (n.after == 0 || after < n.after) {
			n.after = after
		}
	}
	for _, name := range spec.ServiceNames() {
		s := spec.Services[name]
		if s.Image != "" {
			add(s.Image, s.Platform, s.PullPolicy, s.PullAfter)
		}
		for _, m := range s.Mounts {
			if m.Type == desired.MountImage {
				add(m.Source, s.Platform, "", 0)
			}
		}
	}
	var out []need
	for _, ref := range slices.Sorted(maps.Keys(byRef)) {
		out = append(out, *byRef[ref])
	}
	return out
}

func (e *Engine) prepareImage(ctx context.Context, t reconciler.Target, n need, p reconciler.Progress) (reconciler.Image, error) {
	switch fixed := t.Images[n.ref]; {
	case fixed.ID != "":
		return e.fetchFixed(ctx, t, n, fixed, p)
	case fixed.Digest != "":
		return e.fetchDigest(ctx, t, n, fixed.Digest, p)
	}
	if !n.always {
		img, found, err := e.inspectImage(ctx, n.ref)
		if err != nil {
			return img, err
		}
		if found {
			return e.refresh(ctx, t, n, img, p)
		}
		if n.never {
			return img, reconciler.Terminal(fmt.Errorf("prepare image %s: it is not on the engine and pull_policy is never; load it, or change the policy", n.ref))
		}
	}
	return e.fetch(ctx, t, n, p)
}

// fetch asks the registry for what the reference means now.
func (e *Engine) fetch(ctx context.Context, t reconciler.Target, n need, p reconciler.Progress) (reconciler.Image, error) {
	if err := e.pull(ctx, n.ref, n, p); err != nil {
		return reconciler.Image{}, err
	}
	img, found, err := e.inspectImage(ctx, n.ref)
	if err == nil && !found {
		err = fmt.Errorf("prepare image %s: it was pulled but is not on the engine; was it removed meanwhile?", n.ref)
	}
	if err != nil {
		return img, err
	}
	return img, e.notePull(t.Spec.Name, img.ID, n.ref)
}

// fetchFixed makes sure that an image which was resolved before is there. When
// it is gone, but every container that is made from it is still there, a way
// back needs neither it nor the registry.
func (e *Engine) fetchFixed(ctx context.Context, t reconciler.Target, n need, fixed reconciler.Image, p reconciler.Progress) (reconciler.Image, error) {
	_, found, err := e.inspectImage(ctx, fixed.ID)
	if err != nil || found {
		return fixed, err
	}
	if made, err := e.allMade(ctx, t, n.ref); err != nil || made {
		return fixed, err
	}
	if fixed.Digest == "" {
		return fixed, reconciler.Terminal(fmt.Errorf("prepare image %s: image %s is gone from the engine and has no digest to fetch it by; load or build it again", n.ref, shortImage(fixed.ID)))
	}
	if err := e.pull(ctx, fixed.Digest, n, p); err != nil {
		return fixed, err
	}
	got, found, err := e.inspectImage(ctx, fixed.Digest)
	switch {
	case err != nil:
		return fixed, err
	case !found || got.ID != fixed.ID:
		return fixed, fmt.Errorf("prepare image %s: %s is image %s, not %s as before", n.ref, fixed.Digest, shortImage(got.ID), shortImage(fixed.ID))
	}
	return fixed, e.notePull(t.Spec.Name, fixed.ID, fixed.Digest)
}

// fetchDigest makes sure that what a registry resolved is there. The reference
// is not asked for: it may mean something else by now.
func (e *Engine) fetchDigest(ctx context.Context, t reconciler.Target, n need, digest string, p reconciler.Progress) (reconciler.Image, error) {
	img, found, err := e.inspectImage(ctx, digest)
	switch {
	case err != nil:
		return img, err
	case found:
		return reconciler.Image{ID: img.ID, Digest: digest}, nil
	case n.never:
		return img, reconciler.Terminal(fmt.Errorf("prepare image %s: %s is not on the engine and pull_policy is never; load it, or change the policy", n.ref, digest))
	}
	if err := e.pull(ctx, digest, n, p); err != nil {
		return img, err
	}
	img, found, err = e.inspectImage(ctx, digest)
	if err == nil && !found {
		err = fmt.Errorf("prepare image %s: %s was pulled but is not on the engine; was it removed meanwhile?", n.ref, digest)
	}
	if err != nil {
		return img, err
	}
	return reconciler.Image{ID: img.ID, Digest: digest}, e.notePull(t.Spec.Name, img.ID, digest)
}

func shortImage(id string) string { return short(strings.TrimPrefix(id, "sha256:")) }

// inspectImage tells what a reference means on this engine.
func (e *Engine) inspectImage(ctx context.Context, ref string) (img reconciler.Image, found bool, err error) {
	in, found, err := e.imageDetails(ctx, ref)
	if err != nil || !found {
		return img, found, err
	}
	return reconciler.Image{ID: in.ID, Digest: digestFor(ref, in.RepoDigests)}, true, nil
}

func (e *Engine) imageDetails(ctx context.Context, ref string) (in image.InspectResponse, found bool, err error) {
	err = call(ctx, readTimeout, func(ctx context.Context) error {
		in, err = e.api().ImageInspect(ctx, ref)
		return err
	})
	if notFound(err) {
		return in, false, nil
	}
	return in, err == nil, e.fail(err, "inspect image %s", ref)
}

// digestFor picks the digest under the repository that ref names.
func digestFor(ref string, digests []string) string {
	repo := repository(ref)
	for _, d := range digests {
		if r, _, _ := strings.Cut(d, "@"); repository(r) == repo {
			return d
		}
	}
	return ""
}

// checkExternal makes sure that what others must have made is there.
func (e *Engine) checkExternal(ctx context.Context, spec desired.Spec) error {
	for _, k := range slices.Sorted(maps.Keys(spec.Networks)) {
		n := spec.Networks[k]
		if !n.External {
			continue
		}
		if _, found, err := e.inspectNetwork(ctx, n.Name); err != nil {
			return err
		} else if !found {
			return missingExternal("network", k, n.Name)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(spec.Volumes)) {
		v := spec.Volumes[k]
		if !v.External {
			continue
		}
		if _, found, err := e.inspectVolume(ctx, v.Name); err != nil {
			return err
		} else if !found {
			return missingExternal("volume", k, v.Name)
		}
	}
	return nil
}

func missingExternal(kind, key, name string) error {
	return reconciler.Terminal(fmt.Errorf("prepare %s %s: it is external and there is no %s named %s; make it with docker %s create %s", kind, key, kind, name, kind, name))
}

// inspectNetwork finds a network by its exact name; of several the first.
func (e *Engine) inspectNetwork(ctx context.Context, name string) (n network.Summary, found bool, err error) {
	named, err := e.networksNamed(ctx, name)
	if err != nil || len(named) == 0 {
		return n, false, err
	}
	return named[0], true, nil
}
