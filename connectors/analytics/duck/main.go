//go:build cgo

package duck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

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
		return once(ctx, in, out, RunBuild)
	case wire.Check:
		return once(ctx, in, out, RunCheck)
	case wire.Export:
		return once(ctx, in, out, func(ctx context.Context, r wire.ExportRequest) wire.BuildReply {
			if err := RunExport(ctx, r); err != nil {
				return wire.BuildReply{Error: err.Error()}
			}
			return wire.BuildReply{}
		})
	}
	return fmt.Errorf("start child: %w %q", ErrMode, mode)
}

// once reads one request, does it and writes one reply. How much memory it may
// have is set by whoever starts it, who knows how large the files are.
func once[Request, Reply any](ctx context.Context, in io.Reader, out io.Writer, do func(context.Context, Request) Reply) error {
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
	return wire.WriteMessage(out, do(ctx, request))
}

// ErrMode says that there is no child of this kind.
var ErrMode = errors.New("no such mode")
