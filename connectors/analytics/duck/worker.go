//go:build cgo

package duck

import (
	"context"
	"errors"
	"io"
)

func runWorker(ctx context.Context, in io.Reader, out, log io.Writer) error {
	return errors.ErrUnsupported
}
