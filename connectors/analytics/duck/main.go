//go:build cgo

package duck

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// Main is a child process: what it is told comes from in, what it answers goes
// to out, and what it has to say beside that to log. It returns when its work is
// done or its input ends. A child is a process of its own, since it takes limits
// and rights from the whole process that are not given back.
func Main(ctx context.Context, mode string, in io.Reader, out, log io.Writer) error {
	if err := dieWithParent(); err != nil {
		return err
	}
	switch mode {
	case wire.Worker:
		return runWorker(ctx, in, out, log)
	case wire.Build:
		return once(ctx, in, out, job[wire.BuildRequest, wire.BuildReply]{placesOfBuild, func(ctx context.Context, r wire.BuildRequest, unconfined string) wire.BuildReply {
			reply := RunBuild(ctx, r)
			reply.Unconfined = unconfined
			return reply
		}})
	case wire.Check:
		return once(ctx, in, out, job[wire.CheckRequest, wire.CheckReply]{placesOfCheck, func(ctx context.Context, r wire.CheckRequest, unconfined string) wire.CheckReply {
			reply := RunCheck(ctx, r)
			reply.Unconfined = unconfined
			return reply
		}})
	case wire.Export:
		return once(ctx, in, out, job[wire.ExportRequest, wire.BuildReply]{placesOfExport, func(ctx context.Context, r wire.ExportRequest, unconfined string) wire.BuildReply {
			reply := wire.BuildReply{Unconfined: unconfined}
			if err := RunExport(ctx, r); err != nil {
				reply.Error = err.Error()
			}
			return reply
		}})
	}
	return fmt.Errorf("start child: %w %q", ErrMode, mode)
}

// job is what a child does once, and where it may do so.
type job[Request, Reply any] struct {
	places func(Request) (c confinement, foreign bool)
	do     func(ctx context.Context, r Request, unconfined string) Reply
}

// once reads one request, becomes a process that can do that and nothing else,
// does it and writes one reply. How much memory it may have is set by whoever
// starts it, who knows how large the files are.
func once[Request, Reply any](ctx context.Context, in io.Reader, out io.Writer, j job[Request, Reply]) error {
	if err := (limits{Files: 4096, Nice: 10, OOM: 900}).apply(); err != nil {
		return err
	}
	kind, content, err := wire.ReadFrame(in)
	if err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	var request Request
	if kind != wire.Message {
		return fmt.Errorf("read request: %w", wire.ErrFrame)
	}
	if err := json.Unmarshal(content, &request); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	unconfined, already := confinedStage()
	if !already {
		c, foreign := j.places(request)
		return becomeConfined(c, framed(content), foreign)
	}
	return wire.WriteMessage(out, j.do(ctx, request, unconfined))
}

// ErrMode says that there is no child of this kind.
var ErrMode = errors.New("no such mode")

// framed is a message as it came.
func framed(content []byte) []byte {
	var b bytes.Buffer
	_ = wire.WriteMessage(&b, json.RawMessage(content)) // to memory: it does not fail
	return b.Bytes()
}

// hostFiles are what the engine asks of the host: how much memory it may take,
// and zones of time.
func hostFiles() []string {
	return []string{"/proc/self", "/sys/fs/cgroup", "/etc/localtime", "/usr/share/zoneinfo"}
}

// placesOfBuild are the directories of a build: what the run left is read, and
// one generation is written, with links to the one before.
func placesOfBuild(r wire.BuildRequest) (confinement, bool) {
	c := confinement{read: append(hostFiles(), r.From.Dir), write: []string{r.To, tempOf(r.Limits), "/dev/null"}}
	if r.Before != nil {
		c.share = []string{r.BeforeDir}
	}
	return c, ofOthers(r.From.Dir)
}

// placesOfCheck are the directories of a check, which writes nothing.
func placesOfCheck(r wire.CheckRequest) (confinement, bool) {
	dir := r.Path
	if d, _, err := target(r.Path); err == nil {
		dir = d
	}
	return confinement{read: append(hostFiles(), r.Path, dir), write: []string{tempOf(r.Limits), "/dev/null"}}, ofOthers(dir)
}

// placesOfExport are the directories of an export: a database is written, and
// what its views lead to is read.
func placesOfExport(r wire.ExportRequest) (confinement, bool) {
	c := confinement{read: hostFiles(), write: []string{filepath.Dir(r.To), os.TempDir(), "/dev/null"}}
	for _, s := range r.Sources {
		c.read = append(c.read, s.Dir)
	}
	return c, false
}

func tempOf(l wire.BuildLimits) string { return cmp.Or(l.TempDir, os.TempDir()) }
