package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// fleet are the instances as the daemon's API tells of them. Before they were
// looked for first it has none, which is not the same as that there are none:
// who asks meanwhile is to ask again, and not to take one for removed.
type fleet struct {
	server.Fleet
	looked atomic.Pointer[time.Time] // when they were looked for last
}

// keptSoon bounds the time from looking for instances until they are known.
const keptSoon = time.Second

// Instance implements server.Fleet.
func (f *fleet) Instance(name string) (*reconciler.Instance, error) {
	r, err := f.Fleet.Instance(name)
	if !errors.Is(err, reconciler.ErrNoInstance) || !f.starting() {
		return r, err
	}
	return nil, &server.Error{Status: http.StatusServiceUnavailable, RetryAfter: time.Second,
		Detail: fmt.Sprintf("find instance %s: the daemon is starting, and has not read the repository yet", name), Hint: "try again in a moment"}
}

func (f *fleet) starting() bool {
	if len(f.Instances()) > 0 || f.Problems() != nil {
		return false
	}
	looked := f.looked.Load()
	return looked == nil || time.Since(*looked) < keptSoon
}

// watch notes when instances are looked for.
func (f *fleet) watch(discover func(fs.FS) ([]reconciler.Found, error)) func(fs.FS) ([]reconciler.Found, error) {
	return func(tree fs.FS) ([]reconciler.Found, error) {
		found, err := discover(tree)
		now := time.Now()
		f.looked.Store(&now)
		return found, err
	}
}
