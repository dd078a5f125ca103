package main

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// The exit codes. They are an interface: scripts depend on them.
const (
	exitDone       = 0
	exitError1     = 1
	exitChanges    = 2
	exitRolledBack = 3
	exitFailed     = 4
	exitSuspended  = 5
	exitRefused    = 6
	exitTimeout    = 7
)

const exitHelp = `Exit codes:
  0  done, or nothing to do
  1  error
  2  plan --detailed-exitcode: there are changes
  3  failed and rolled back
  4  failed, not rolled back
  5  suspended, an older generation is held, or a release waits for its time
  6  refused: the revision does not validate
  7  timed out`

// exitError ends the program with a code. Without err nothing more is printed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exitWith returns the error that ends the program with a code; nil for 0.
func exitWith(code int) error {
	if code == exitDone {
		return nil
	}
	return &exitError{code: code}
}

// codeOfError is the code of an operation that could not be carried out.
func codeOfError(err error) int {
	var problems desired.Problems
	var answer *server.Error
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	case errors.As(err, &problems), errors.As(err, &answer) && len(answer.Problems) > 0:
		return exitRefused
	}
	return exitError1
}

// codeOfResult is the code of an apply that came to rest.
func codeOfResult(r server.Result, last *reconciler.Record) int {
	switch r.Status.Phase {
	case reconciler.PhaseRefused:
		return exitRefused
	case reconciler.PhaseSuspended, reconciler.PhaseHeld:
		return codeOfResting(r)
	case reconciler.PhaseDeferred:
		if r.Record != nil && r.Record.Outcome == reconciler.Applied {
			return exitDone // what was asked for stands
		}
		return exitSuspended
	case reconciler.PhaseRolledBack:
		return exitRolledBack
	case reconciler.PhaseQuarantined:
		if r.Record != nil && r.Record.Kind == "deploy" && r.Record.Outcome == reconciler.Applied {
			return exitDone // the commit stands, beside a release that failed before
		}
		if last != nil && last.Outcome == reconciler.Failed {
			return exitFailed
		}
		return exitRolledBack
	case reconciler.PhaseRetrying, reconciler.PhaseStalled:
		return codeOfRetry(r)
	}
	if r.Record != nil && r.Record.Outcome == reconciler.Failed {
		return exitFailed
	}
	return exitDone
}

// codeOfResting is the code when somebody suspended the instance or holds a
// generation: what came of an apply that was on its way then still counts.
func codeOfResting(r server.Result) int {
	if r.Record == nil || r.Record.Kind == "heal" {
		return exitSuspended
	}
	switch r.Record.Outcome {
	case reconciler.Applied:
		if r.Record.Kind == "deploy" {
			return exitDone
		}
	case reconciler.RolledBack:
		return exitRolledBack
	case reconciler.Failed:
		return exitFailed
	}
	return exitSuspended
}

func codeOfRetry(r server.Result) int {
	if r.Record == nil {
		return exitError1
	}
	switch r.Record.Outcome {
	case reconciler.RolledBack:
		return exitRolledBack
	case reconciler.Failed:
		return exitFailed
	}
	return exitError1
}

// worse returns the code that a run over several instances ends with.
func worse(a, b int) int {
	order := []int{exitDone, exitChanges, exitSuspended, exitError1, exitRefused, exitTimeout, exitRolledBack, exitFailed}
	rank := map[int]int{}
	for i, code := range order {
		rank[code] = i
	}
	if rank[a] > rank[b] {
		return a
	}
	return b
}
