package drivertest

import (
	"fmt"
	"net/http"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// Behaviour is what the process of an image does once started.
type Behaviour struct {
	// Check says that the image has a health check of its own.
	Check bool
	// HealthyAfter is how long the check reads "starting".
	HealthyAfter time.Duration
	// UnhealthyAfter is when the check begins to fail; zero: it never does.
	UnhealthyAfter time.Duration
	// Exits says that the process ends by itself, after ExitAfter with
	// ExitCode. What follows is up to the restart policy.
	Exits     bool
	ExitAfter time.Duration
	ExitCode  int

	// Serve answers HTTP requests on Port of the container's address while it
	// runs; zero is DefaultPort, and the service's environment variable PORT
	// goes before it. A real server is started for it: Close the
	// engine at the end of the test, and use it in no synctest bubble.
	Serve http.Handler
	Port  int
	// LocksFor is how long after a stop something still holds the Locks of the
	// service.
	LocksFor time.Duration
	// Survives says that the process outlives every stop.
	Survives bool
}

// Healthy is a process that runs and whose check passes at once.
func Healthy() Behaviour { return Behaviour{Check: true} }

// Plain is a process that runs and has no health check.
func Plain() Behaviour { return Behaviour{} }

// SlowStart becomes healthy after d.
func SlowStart(d time.Duration) Behaviour { return Behaviour{Check: true, HealthyAfter: d} }

// Unhealthy never becomes healthy: its check fails after a second.
func Unhealthy() Behaviour {
	return Behaviour{Check: true, HealthyAfter: time.Hour, UnhealthyAfter: time.Second}
}

// TurnsBad is healthy at first and unhealthy after d.
func TurnsBad(d time.Duration) Behaviour { return Behaviour{Check: true, UnhealthyAfter: d} }

// CrashLoop ends with code 3 soon after each start.
func CrashLoop() Behaviour {
	return Behaviour{Exits: true, ExitAfter: 100 * time.Millisecond, ExitCode: 3}
}

// Exit is a job: it ends with code after d.
func Exit(code int, d time.Duration) Behaviour {
	return Behaviour{Exits: true, ExitAfter: d, ExitCode: code}
}

// status is what an inspection of a container tells at this moment.
type status struct {
	state    reconciler.State
	exit     int
	health   reconciler.Health
	restarts int
	up       time.Duration // since the last start
}

// restartPause is how long the engine waits before it starts a process again.
const restartPause = 100 * time.Millisecond

// status computes the state from the time that passed since the start.
func (e *Engine) status(b *box) status {
	switch b.phase {
	case reconciler.StateRunning:
	case reconciler.StatePaused:
		return status{state: b.phase, up: time.Since(b.started)}
	default:
		return status{state: b.phase, exit: b.ended}
	}
	bh, up := e.behaviours[b.image], time.Since(b.started)
	if !bh.Exits {
		return status{state: reconciler.StateRunning, health: health(bh, b.checked, up), up: up}
	}
	cycle := bh.ExitAfter + restartPause
	n := int(up / cycle) // starts that ended
	rest := up - time.Duration(n)*cycle
	if limit, again := restartLimit(b, bh.ExitCode); !again || (limit > 0 && n >= limit) {
		if n > 0 || rest >= bh.ExitAfter {
			return status{state: reconciler.StateExited, exit: bh.ExitCode, restarts: min(n, limit)}
		}
	}
	if rest >= bh.ExitAfter {
		return status{state: reconciler.StateRestarting, exit: bh.ExitCode, restarts: n + 1}
	}
	return status{state: reconciler.StateRunning, health: health(bh, b.checked, rest), restarts: n, up: rest}
}

// restartLimit tells whether the policy starts a process that ended with code
// again, and how often at most (0: without end).
func restartLimit(b *box, code int) (limit int, again bool) {
	switch b.restart.Name {
	case "always", "unless-stopped":
		return 0, true
	case "on-failure":
		return b.restart.MaxRetries, code != 0
	}
	return 0, false
}

// revives says whether an engine that is started starts a container again: with
// "always" whoever stopped it, with "on-failure" when it ended with an error,
// and only "unless-stopped" heeds a call that ended it. What never ran stays.
func (e *Engine) revives(b *box, code int) bool {
	switch b.restart.Name {
	case "always":
		return !b.started.IsZero()
	case "unless-stopped":
		return !b.started.IsZero() && !b.manual
	case "on-failure":
		return !b.started.IsZero() && code != 0
	}
	return false
}

func (e *Engine) willRevive(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.byID(id)
	return b != nil && e.revives(b, e.status(b).exit)
}

func health(b Behaviour, checked bool, up time.Duration) reconciler.Health {
	switch {
	case !b.Check && !checked:
		return ""
	case b.UnhealthyAfter > 0 && up >= b.UnhealthyAfter:
		return reconciler.HealthUnhealthy
	case up >= b.HealthyAfter:
		return reconciler.HealthHealthy
	}
	return reconciler.HealthStarting
}

func (s status) String() string {
	switch s.state {
	case reconciler.StateExited:
		return fmt.Sprintf("exited with code %d", s.exit)
	case reconciler.StateRestarting:
		return fmt.Sprintf("restarted %d times, last exit code %d", s.restarts, s.exit)
	}
	return string(s.state)
}
