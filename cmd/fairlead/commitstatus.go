package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/notify/forge"
)

// commitsEvery is how often is looked at what to say of commits when nothing is
// heard.
const commitsEvery = 5 * time.Second

// followCommits says of each instance's newest commit what became of it.
func (n *notices) followCommits(ctx context.Context) error {
	heard, stop := n.view.Listen()
	defer stop()
	ticker := time.NewTicker(commitsEvery)
	defer ticker.Stop()
	for {
		var list []forge.Status
		for _, s := range n.view.Statuses() {
			if st, known := commitStatus(s); known {
				st.Context, st.Target = "fairlead/"+n.host+"/"+s.Name, n.link(s.Name)
				list = append(list, st)
			}
		}
		n.poster.Want(list)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-heard:
		case <-ticker.C:
		}
	}
}

// commitStatus is what an instance makes of the newest commit; known is false as
// long as nothing was decided.
func commitStatus(s reconciler.Status) (st forge.Status, known bool) {
	if s.Attempted.Commit == "" || s.LastPass.IsZero() && s.Phase != reconciler.PhaseApplying && s.Phase != reconciler.PhaseBaking {
		return st, false
	}
	st.Commit = s.Attempted.Commit
	source := s.Condition(reconciler.SourceReady)
	switch s.Phase {
	case reconciler.PhaseApplying:
		st.State, st.Description = forge.Pending, fmt.Sprintf("generation %d is being applied", s.Generation+1)
	case reconciler.PhaseBaking:
		st.State, st.Description = forge.Pending, "it runs, and has to stay healthy for a while"
	case reconciler.PhaseIdle:
		st.State, st.Description = forge.Success, fmt.Sprintf("generation %d stands", s.Generation)
	case reconciler.PhaseDeferred:
		st.State, st.Description = forge.Success, fmt.Sprintf("generation %d stands; a newer release waits", s.Generation)
	case reconciler.PhaseRefused:
		st.State, st.Description = forge.Error, "refused: "+firstProblem(s, source.Message)
	case reconciler.PhaseQuarantined, reconciler.PhaseRolledBack:
		st.State, st.Description = forge.Failure, "failed, and was rolled back: "+whyFailed(s)
	case reconciler.PhaseStalled:
		st.State, st.Description = forge.Error, "stalled: "+whyFailed(s)
	case reconciler.PhaseRetrying:
		if s.Sync == reconciler.Unknown {
			return st, false // the repository or the engine cannot be asked: that is not the commit's fault
		}
		st.State, st.Description = forge.Failure, "failed, and is tried again: "+whyFailed(s)
	case reconciler.PhaseSuspended:
		st.State, st.Description = forge.Pending, "the instance is suspended"
	case reconciler.PhaseHeld:
		st.State, st.Description = forge.Pending, fmt.Sprintf("an operator holds generation %d", s.Generation)
	default:
		st.State, st.Description = forge.Pending, "it is looked at"
	}
	return st, true
}

func firstProblem(s reconciler.Status, otherwise string) string {
	if len(s.Problems) > 0 {
		return s.Problems[0].String()
	}
	line, _, _ := strings.Cut(otherwise, "\n")
	return line
}

// whyFailed is the first line of what is known about the failure of the newest
// commit.
func whyFailed(s reconciler.Status) string {
	text := ""
	for _, q := range s.Quarantined {
		if q.Revision.Commit == s.Attempted.Commit {
			text = q.Reason
		}
	}
	line, _, _ := strings.Cut(cmp.Or(text, s.Condition(reconciler.ContainersReady).Message, "see fairlead history "+s.Name), "\n")
	return line
}
