package registry

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	engineTimeout = 5 * time.Second  // of the question what the engine's machine is
	engineAgain   = 15 * time.Second // after one that was not answered
)

// machine is where the images will run: the engine's, which need not be this
// one. The engine is asked until it has answered once.
type machine struct {
	ask   func(context.Context) (string, error)
	said  atomic.Pointer[string]
	mu    sync.Mutex // lets one ask at a time, and guards again
	again time.Time
}

// platform is that of the engine, and of this processor as long as the engine
// cannot be asked: nothing is deployed to it then.
func (m *machine) platform(ctx context.Context) string {
	if m.ask == nil {
		return here()
	}
	if m.said.Load() == nil {
		m.learn(ctx)
	}
	return m.known()
}

// known is the platform without asking.
func (m *machine) known() string {
	if p := m.said.Load(); p != nil {
		return *p
	}
	return here()
}

func (m *machine) learn(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.said.Load() != nil || time.Now().Before(m.again) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	if p, err := m.ask(ctx); err == nil && p != "" {
		m.said.Store(&p)
		return
	}
	m.again = time.Now().Add(engineAgain) // who drives the engine says what is wrong with it
}

func here() string { return "linux/" + runtime.GOARCH }
