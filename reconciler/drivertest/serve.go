package drivertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// DefaultPort is where a container listens whose Behaviour names no port.
const DefaultPort = 8000

// hostNetwork is the name of the host's own network.
const hostNetwork = "host"

// defaultNetwork is where a container is that names no network.
const defaultNetwork = "bridge"

// addressAttempts is how many loopback addresses are tried: another process
// may have the port on one.
const addressAttempts = 64

// addresses are where a container is reached, by network; nil when it does not
// run. All of them are of the loopback network, which is one: a container has
// the same address on every network.
func (e *Engine) addresses(b *box) map[string]netip.Addr {
	if e.status(b).state != reconciler.StateRunning {
		return nil
	}
	switch {
	case strings.Contains(b.mode, ":"):
		if p := e.sharedWith(b); p != nil && p != b {
			return e.addresses(p)
		}
		return nil
	case b.mode == hostNetwork:
		return map[string]netip.Addr{hostNetwork: b.addr}
	case b.mode == "none":
		return nil
	}
	out := map[string]netip.Addr{}
	for n := range b.networks {
		out[n] = b.addr
	}
	if b.mode != "" || len(b.networks) == 0 && !b.networked {
		out[defaultNetwork] = b.addr
	}
	return out
}

// sharedWith is the container whose network this one uses.
func (e *Engine) sharedWith(b *box) *box {
	kind, name, _ := strings.Cut(b.mode, ":")
	if kind == "service" {
		return e.byID(b.peers[name])
	}
	return e.byName(name)
}

// listen gives a container that starts its address, and serves what its image
// serves there.
func (e *Engine) listen(b *box) error {
	e.hangUp(b)
	bh := e.behaviours[b.image]
	port := b.port
	if port == "" {
		port = strconv.Itoa(cmp.Or(bh.Port, DefaultPort))
	}
	var fixed netip.Addr
	if p := e.sharedWith(b); p != nil && strings.Contains(b.mode, ":") {
		fixed = p.addr
	} else if b.mode == hostNetwork {
		fixed = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if bh.Serve == nil {
		if b.addr = fixed; !fixed.IsValid() {
			b.addr = randomLoopback()
		}
		return nil
	}
	var err error
	for range addressAttempts {
		if b.addr = fixed; !fixed.IsValid() {
			b.addr = randomLoopback()
		}
		var l net.Listener
		if l, err = net.Listen("tcp4", net.JoinHostPort(b.addr.String(), port)); err == nil {
			b.server = &http.Server{Handler: e.process(b.id, bh.Serve), ReadHeaderTimeout: time.Minute}
			go b.server.Serve(l) //nolint:errcheck // ends with Close
			return nil
		}
		if fixed.IsValid() {
			break
		}
	}
	return fmt.Errorf("start container %s: listen: %w", b.name, err)
}

// randomLoopback keeps away from 127.0.0.0/16, where people listen.
func randomLoopback() netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(254)), byte(rand.IntN(256)), byte(1 + rand.IntN(254))})
}

// process answers as long as the container runs: what comes else finds a
// connection that breaks.
func (e *Engine) process(id string, serve http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		b := e.byID(id)
		up := b != nil && e.status(b).state == reconciler.StateRunning
		e.mu.Unlock()
		if !up {
			panic(http.ErrAbortHandler)
		}
		serve.ServeHTTP(w, r)
	})
}

// hangUp ends a container's server as the end of its process does: requests in
// flight are cut off.
func (e *Engine) hangUp(b *box) {
	if b.server != nil {
		b.server.Close() //nolint:errcheck // the listener's error tells nothing
		b.server = nil
	}
}

// Close ends every server of a Behaviour with Serve. Containers stay as they are.
func (e *Engine) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range e.containers {
		e.hangUp(b)
	}
}

// Digest returns what a reference means in the registry, "repo@sha256:…"; an
// error when it means nothing, or pulls of it fail.
func (e *Engine) Digest(ref string) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.noRegistry {
		return "", fmt.Errorf("ask for %s: the registry is down", ref)
	}
	if err := e.pullErrs[ref]; err != nil {
		return "", fmt.Errorf("ask for %s: %w", ref, err)
	}
	img, ok := e.registry[ref]
	if !ok {
		return "", fmt.Errorf("ask for %s: not found", ref)
	}
	return img.Digest, nil
}

// defaultLockLimit is how long a lock may outlive the container that held it.
const defaultLockLimit = 10 * time.Second

// prove makes sure that a container which was stopped has ended and that the
// service's locks are free.
func (e *Engine) prove(ctx context.Context, t reconciler.Target, b *box) error {
	limit := e.LockLimit
	if limit == 0 {
		limit = defaultLockLimit
	}
	for began := time.Now(); ; {
		e.mu.Lock()
		survives, held := e.behaviours[b.image].Survives, e.heldLock(b, t.Spec.Services[b.service].Locks)
		e.mu.Unlock()
		switch {
		case survives:
			return fmt.Errorf("stop container %s: its process survived the stop; nothing is started beside it", b.name)
		case held == "":
			return nil
		case time.Since(began) > limit:
			return fmt.Errorf("prove lock %s free: process 1234 still holds it after %s; nothing is started beside it", held, limit)
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("prove lock %s free: %w", held, err)
		}
	}
}

// heldLock returns the first of the files on which something holds a lock.
func (e *Engine) heldLock(b *box, files []string) string {
	lingers := time.Since(b.stopped) < e.behaviours[b.image].LocksFor
	for _, f := range files {
		if lingers || e.locked[f] > 0 {
			return f
		}
	}
	return ""
}

// leave asks that no request is led to a container any more.
func (e *Engine) leave(ctx context.Context, t reconciler.Target, b *box) error {
	if t.Switch == nil {
		return nil
	}
	if err := e.take(ctx, "leave %s", b.name); err != nil {
		return err
	}
	e.mu.Lock()
	c := e.observed(b)
	e.mu.Unlock()
	if err := t.Switch.Leave(ctx, t, c); err != nil {
		return fmt.Errorf("take requests away from container %s: %w", c.Name, err)
	}
	return nil
}

// lead asks that requests are led to a start-first replacement; one that is
// refused is removed.
func (e *Engine) lead(ctx context.Context, t reconciler.Target, b *box) error {
	if t.Switch == nil {
		return nil
	}
	if err := e.take(ctx, "lead %s", b.name); err != nil {
		return err
	}
	e.mu.Lock()
	c := e.observed(b)
	e.mu.Unlock()
	err := t.Switch.Ready(ctx, t, c)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("lead requests to container %s: %w", c.Name, err)
	if ctx.Err() != nil {
		return err
	}
	if serr := e.take(ctx, "remove %s", b.name); serr != nil {
		return errors.Join(err, serr)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.drop(b.id)
	return err
}
