package analytics

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// roomEvery is how often is looked whether the disk has room while a build runs.
const roomEvery = 500 * time.Millisecond

// errRoom is a build that was ended so that others have something left of the
// disk: what is a small file as it was left may unpack to a thousand times that.
var errRoom = errors.New("no space left on device but what others need: the build was ended")

// leaveRoom ends what is done with the context that it returns when the disk of a
// directory has less than least bytes free. The function ends that.
func leaveRoom(ctx context.Context, dir string, least int64) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(roomEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			var st unix.Statfs_t
			if err := unix.Statfs(dir, &st); err == nil && int64(st.Bavail)*st.Bsize < least {
				cancel(errRoom)
			}
		}
	}()
	return ctx, func() { cancel(nil); <-done }
}
