package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// refreshStall is how long a registry may be silent when there is an image to
// go on with.
const refreshStall = 30 * time.Second

// outdated says whether the last pull of what the reference means is older
// than its services allow. What was never pulled is; a digest cannot mean
// anything else.
func (e *Engine) outdated(n need) (bool, error) {
	if n.after == 0 || strings.Contains(n.ref, "@") {
		return false, nil
	}
	last, err := e.notes.lastPull(n.ref)
	if err != nil {
		return false, err
	}
	since := time.Now().Round(0).Sub(last)
	return since >= n.after || since < 0, nil // less than 0: the clock was put back
}

// refresh gives an image that is there, and fetches it again when its last pull
// is too long ago. A registry that does not give it stops nothing: it is gone on
// with what is there, and the registry is asked the next time.
func (e *Engine) refresh(ctx context.Context, t reconciler.Target, n need, have reconciler.Image, p reconciler.Progress) (reconciler.Image, error) {
	if old, err := e.outdated(n); err != nil || !old {
		return have, err
	}
	e.notePrepared(t.Spec.Name, have.ID) // a clean-up before the pull leaves it
	n.have = true
	img, err := e.fetch(ctx, t, n, p)
	switch {
	case err == nil:
		return img, nil
	case ctx.Err() != nil:
		return have, err
	case errors.Is(err, reconciler.ErrUnreachable):
		return have, err
	}
	if t.Tell != nil {
		t.Tell("ImageKept", fmt.Sprintf("%s is used as it is on the engine: %v", n.ref, err))
	}
	return have, nil
}
