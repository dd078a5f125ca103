package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// Listen opens the daemon's socket for its own user only. The caller holds the
// lock of the data directory, so a socket that is there already is a leftover.
func Listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	// The directory has mode 0700, so nobody comes in before the chmod.
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protect socket: %w", err), l.Close())
	}
	return l, nil
}

// stopGrace is how long open calls may take to end once the daemon stops.
const stopGrace = 2 * time.Second

// Serve answers calls on l until ctx ends, and removes the socket. The jobs that
// are under way end with it.
func (a *API) Serve(ctx context.Context, l net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { a.jobs.Run(ctx); return nil })
	group.Go(func() error { a.canary.run(ctx); return nil })
	group.Go(func() error { return ServeHTTP(ctx, l, a.Handler()) })
	return group.Wait()
}

// ServeHTTP serves a handler on l until ctx ends. Streams end with it at once.
func ServeHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	calls, cancelCalls := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelCalls()
	if l.Addr().Network() == "tcp" {
		l = bounded(l, maxConns, maxClientConns)
	}
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return calls },
		ConnContext:       withPeer,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", l.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		cancelCalls() // streams end now; the rest is given a moment
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		if err := s.Shutdown(grace); err != nil {
			return s.Close()
		}
		return nil
	})
	return group.Wait()
}
