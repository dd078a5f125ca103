package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"github.com/fairlead/fairlead/reconciler"
)

// Unreachable says that the engine did not answer: it is being restarted, its
// socket is gone, or it is stuck. Nothing may be concluded from it.
type Unreachable struct {
	Host string
	Err  error
}

func (u *Unreachable) Error() string {
	return fmt.Sprintf("engine at %s is not reachable: %v", u.Host, u.Err)
}

func (u *Unreachable) Unwrap() []error { return []error{reconciler.ErrUnreachable, u.Err} }

// IsUnreachable reports whether err comes from an engine that did not answer.
func IsUnreachable(err error) bool {
	var u *Unreachable
	return errors.As(err, &u)
}

// fail wraps an error of the client: "what: cause".
func (e *Engine) fail(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	if wrongVersion(err) {
		e.redial()
		err = &Unreachable{Host: e.opts.Host, Err: fmt.Errorf("it changed its API version, which is asked for again: %w", err)}
	}
	if !IsUnreachable(err) && connectionLost(err) {
		err = &Unreachable{Host: e.opts.Host, Err: err}
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// connectionLost tells a broken connection from an answer of the engine. A
// context that was cancelled by the caller is neither.
func connectionLost(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	var op *net.OpError
	return client.IsErrConnectionFailed(err) || errors.As(err, &op) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, context.DeadlineExceeded)
}

// wrongVersion recognises the engine's refusal of an API version ("client
// version 1.41 is too old. Minimum supported API version is 1.44").
func wrongVersion(err error) bool {
	s := err.Error()
	return strings.Contains(s, "client version") && (strings.Contains(s, "too old") || strings.Contains(s, "too new"))
}

func notFound(err error) bool { return cerrdefs.IsNotFound(err) }
func conflict(err error) bool { return cerrdefs.IsConflict(err) }
