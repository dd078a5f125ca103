package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/fairlead/fairlead/reconciler"
)

const (
	// pullStall is how long a pull may be silent before it is given up.
	pullStall = 5 * time.Minute
	// rateLimitPause is how long a registry that limits is left alone.
	rateLimitPause = 15 * time.Minute
	authTimeout    = 30 * time.Second
)

// repository is the repository of a reference in its full form; the reference
// itself when it is not one.
func repository(ref string) string {
	r, err := name.ParseReference(ref)
	if err != nil {
		return ref
	}
	return r.Context().Name()
}

// fullRef is a reference with registry and tag written out.
func fullRef(ref string) string {
	r, err := name.ParseReference(ref)
	if err != nil {
		return ref
	}
	return r.Name()
}

// pull fetches ref. When the disk turns out full, images that nothing needs
// are removed and it is tried once more.
func (e *Engine) pull(ctx context.Context, ref string, n need, p reconciler.Progress) error {
	if err := e.makeRoom(ctx, false); err != nil {
		e.log.WithError(err).Warn("old images were not removed before a pull")
	}
	stall := pullStall
	if n.have {
		stall = refreshStall
	}
	err := e.pullOnce(ctx, ref, n.platform, stall, p)
	if diskFull(err) && e.opts.Keep != nil {
		if rerr := e.makeRoom(ctx, true); rerr != nil {
			return errors.Join(err, rerr)
		}
		err = e.pullOnce(ctx, ref, n.platform, stall, p)
	}
	return err
}

func (e *Engine) pullOnce(ctx context.Context, ref, platform string, stall time.Duration, p reconciler.Progress) error {
	auth, err := credentials(ctx, ref)
	if err != nil {
		return fmt.Errorf("pull %s: read credentials from the docker config file: %w", ref, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stall, func() { cancel(fmt.Errorf("no progress for %s", stall)) })
	defer watch.Stop()
	body, err := e.api().ImagePull(ctx, ref, image.PullOptions{RegistryAuth: auth, Platform: platform})
	if err == nil {
		err = readProgress(body, func(cur, total int64) {
			watch.Reset(stall)
			if p != nil {
				p(ref, cur, total)
			}
		})
		err = errors.Join(err, body.Close())
	}
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("pull %s: %w", ref, cause)
	}
	return e.pullError(ref, auth != "", err)
}

// pullLine is one message of a pull's stream.
type pullLine struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Progress struct {
		Current int64 `json:"current"`
		Total   int64 `json:"total"`
	} `json:"progressDetail"`
	Error string `json:"error"`
}

// readProgress reads a pull's messages to the end: most failures are told
// inside the stream, after an HTTP status of 200.
func readProgress(r io.Reader, tell func(current, total int64)) error {
	type part struct{ cur, total int64 }
	layers := map[string]part{}
	dec := json.NewDecoder(r)
	for {
		var l pullLine
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if l.Error != "" {
			return errors.New(l.Error)
		}
		had := layers[l.ID]
		switch {
		case l.Status == "Downloading" && l.Progress.Total > 0:
			layers[l.ID] = part{l.Progress.Current, l.Progress.Total}
		case l.Status == "Download complete" || l.Status == "Pull complete":
			layers[l.ID] = part{had.total, had.total}
		}
		var sum part
		for _, p := range layers {
			sum.cur, sum.total = sum.cur+p.cur, sum.total+p.total
		}
		tell(sum.cur, sum.total)
	}
}

// pullError says what a person can do about a pull that failed. None of it is
// terminal: tags get pushed, logins made and registries mended without a
// new revision.
func (e *Engine) pullError(ref string, loggedIn bool, err error) error {
	s := strings.ToLower(err.Error())
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(s, w) {
				return true
			}
		}
		return false
	}
	host := "its registry"
	if r, perr := name.ParseReference(ref); perr == nil {
		host = r.Context().RegistryStr()
	}
	switch {
	case has("toomanyrequests", "too many requests", "rate limit"):
		return reconciler.RetryAfter(fmt.Errorf("pull %s: %s limits how often it is asked; it is tried again in %s: %w", ref, host, rateLimitPause, err), rateLimitPause)
	case diskFull(err):
		return fmt.Errorf("pull %s: the disk of the engine is full: %w", ref, err)
	case has("unauthorized", "authentication required", "no basic auth", "access denied", "forbidden", "denied:"):
		hint := fmt.Sprintf("run docker login %s as the user of this daemon", host)
		if loggedIn {
			hint = fmt.Sprintf("the stored login for %s is refused; run docker login %s again", host, host)
		}
		return fmt.Errorf("pull %s: %s refuses (%s, and check the name): %w", ref, host, hint, err)
	case has("verification failed", "unexpected digest", "unexpected commit digest"):
		return fmt.Errorf("pull %s: %s serves other bytes than the digest says, and none of them is used; find out who changed them: %w", ref, host, err)
	case has("500 internal", "502 bad", "503 service", "504 gateway", "unexpected http status: 5", "unexpected status code 5", "unexpected status: 5"):
		return fmt.Errorf("pull %s: %s has trouble of its own; it is tried again: %w", ref, host, err)
	case strings.Contains(ref, "@") && has("manifest unknown", "not found", "name unknown", "does not exist", "no such image"):
		return fmt.Errorf("pull %s: %s does not have this image any more; push it again, or go to another revision: %w", ref, host, err)
	case has("manifest unknown", "not found", "name unknown", "does not exist", "no such image"):
		return fmt.Errorf("pull %s: %s has no such image; check the name and the tag, or push it: %w", ref, host, err)
	case has("no matching manifest"):
		return fmt.Errorf("pull %s: it is not made for this machine's platform: %w", ref, err)
	}
	return e.fail(err, "pull %s", ref)
}

func diskFull(err error) bool {
	return err != nil && (errors.Is(err, syscall.ENOSPC) || strings.Contains(strings.ToLower(err.Error()), "no space left on device"))
}

// credentials reads the docker config file anew each time: logins change, and
// helpers hand out tokens that end. Empty: no login for the registry.
func credentials(ctx context.Context, ref string) (string, error) {
	r, err := name.ParseReference(ref)
	if err != nil {
		return "", nil // the engine says what is wrong with it
	}
	type answer struct {
		cfg *authn.AuthConfig
		err error
	}
	got := make(chan answer, 1)
	go func() { // a credential helper is a program that may hang
		a, err := authn.DefaultKeychain.Resolve(r.Context())
		if err != nil || a == authn.Anonymous {
			got <- answer{nil, err}
			return
		}
		cfg, err := a.Authorization()
		got <- answer{cfg, err}
	}()
	timer := time.NewTimer(authTimeout)
	defer timer.Stop()
	select {
	case a := <-got:
		if a.err != nil || a.cfg == nil {
			return "", a.err
		}
		return registry.EncodeAuthConfig(registry.AuthConfig{
			Username: a.cfg.Username, Password: a.cfg.Password, Auth: a.cfg.Auth,
			IdentityToken: a.cfg.IdentityToken, RegistryToken: a.cfg.RegistryToken,
			ServerAddress: r.Context().RegistryStr(),
		})
	case <-timer.C:
		return "", fmt.Errorf("the credential helper did not answer within %s", authTimeout)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
