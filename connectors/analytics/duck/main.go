//go:build cgo

package duck

import (
	"context"
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
	}
	return fmt.Errorf("start child: %w %q", ErrMode, mode)
}

// ErrMode says that there is no child of this kind.
var ErrMode = errors.New("no such mode")
