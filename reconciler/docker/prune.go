package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"golang.org/x/sys/unix"
)

// Prune removes images that were pulled for our instances, that no container
// uses and that keep does not name (by ID, reference or digest). An image that
// somebody else gave a name stays. It returns the references that went.
func (e *Engine) Prune(ctx context.Context, keep map[string]bool) ([]string, error) {
	pulled, err := e.notes.images()
	if err != nil || len(pulled) == 0 {
		return nil, err
	}
	var list []container.Summary
	if err := call(ctx, readTimeout, func(ctx context.Context) error {
		list, err = e.api().ContainerList(ctx, container.ListOptions{All: true})
		return err
	}); err != nil {
		return nil, e.fail(err, "list containers")
	}
	keep = fullRefs(keep)
	used := e.beingPrepared()
	for _, c := range list {
		used[c.ImageID] = true
	}
	var gone []string
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(pulled)) {
		if used[id] || keep[id] || slices.ContainsFunc(pulled[id], func(r string) bool { return keep[fullRef(r)] }) {
			continue
		}
		refs, err := e.removeImage(ctx, id, pulled[id], keep)
		gone = append(gone, refs...)
		errs = append(errs, err)
	}
	return gone, errors.Join(errs...)
}

func (e *Engine) removeImage(ctx context.Context, id string, pulled []string, keep map[string]bool) ([]string, error) {
	in, found, err := e.imageDetails(ctx, id)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, e.notes.forgetImage(id)
	}
	repos := map[string]bool{}
	for _, r := range pulled {
		repos[repository(r)] = true
	}
	refs := append(slices.Clone(in.RepoTags), in.RepoDigests...)
	for _, r := range refs {
		tagged := !strings.Contains(r, "@")
		if keep[fullRef(r)] || !repos[repository(r)] || tagged && !slices.ContainsFunc(pulled, func(p string) bool { return sameRef(p, r) }) {
			return nil, nil // somebody else's name for it
		}
	}
	if len(refs) == 0 { // its tag was moved, and it had no digest
		refs = []string{id}
	}
	var gone []string
	for _, r := range refs {
		err := call(ctx, writeTimeout, func(ctx context.Context) error {
			_, err := e.api().ImageRemove(ctx, r, image.RemoveOptions{PruneChildren: true})
			return err
		})
		switch {
		case notFound(err): // removing the last tag takes the digests along
		case conflict(err):
			return gone, nil // used again since we looked
		case err != nil:
			return gone, e.fail(err, "remove image %s", r)
		default:
			gone = append(gone, r)
		}
	}
	return gone, e.notes.forgetImage(id)
}

// fullRefs adds the full form of every reference and digest: a registry and an
// engine write the same one differently.
func fullRefs(keep map[string]bool) map[string]bool {
	out := make(map[string]bool, 2*len(keep))
	for r, k := range keep {
		if k {
			out[r], out[fullRef(r)] = true, true
		}
	}
	return out
}

// sameRef compares references in their full form ("app" is "docker.io/library/app:latest").
func sameRef(a, b string) bool { return a == b || fullRef(a) == fullRef(b) }

// makeRoom prunes when the disk is short, or in any case.
func (e *Engine) makeRoom(ctx context.Context, anyway bool) error {
	if e.opts.Keep == nil {
		return nil
	}
	if !anyway {
		short, err := e.diskShort(ctx)
		if err != nil || !short {
			return err
		}
	}
	keep, err := e.opts.Keep(ctx)
	if err != nil {
		return fmt.Errorf("remove old images: %w", err)
	}
	gone, err := e.Prune(ctx, keep)
	if len(gone) > 0 {
		e.log.WithField("images", strings.Join(gone, " ")).Info("the disk is short: old images were removed")
	}
	return err
}

// diskShort looks at the file system of the engine's root, when it is on this
// machine.
func (e *Engine) diskShort(ctx context.Context) (bool, error) {
	if !strings.HasPrefix(e.opts.Host, "unix://") {
		return false, nil
	}
	in, err := e.Info(ctx)
	if err != nil {
		return false, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(in.RootDir, &st); err != nil {
		return false, nil // the engine runs in another mount namespace
	}
	return st.Bavail*uint64(st.Bsize) < e.opts.MinFree, nil
}
