//go:build !cgo

package duck

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// ErrNoDuckDB says that this program was built without a C compiler.
var ErrNoDuckDB = errors.New("this build of fairlead has no DuckDB: build it with CGO_ENABLED=1 and a C compiler to publish and query data")

// Main has nothing to run in this build.
func Main(_ context.Context, mode string, _ io.Reader, _, _ io.Writer) error {
	return fmt.Errorf("start child %s: %w", mode, ErrNoDuckDB)
}
