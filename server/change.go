package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/server/auth"
)

// Author is whose a commit is.
type Author struct{ Name, Email string }

// Change is one commit that is to be made.
type Change struct {
	// Files are by path from the repository's root; nil removes one.
	Files   map[string][]byte
	Message string
	Author  Author
	// Base is the commit that the change was made on: when one of the files was
	// changed since, that is a conflict. Empty: the newest that is known.
	Base string
	// again says how a caller of the API makes the change once more after a
	// conflict; empty: by the same call.
	again string
}

// Restoration is a commit in which a directory is as it was before.
type Restoration struct {
	Dir     string
	Commit  string // that it is to equal
	Message string
	Author  Author
}

// Committed is what became of a change.
type Committed struct {
	// Commit is the new one, or the newest when nothing had to change. It is
	// empty where Patch is handed back.
	Commit string `json:"commit,omitempty"`
	// Unchanged says that it was all so already, and no commit was made.
	Unchanged bool `json:"unchanged,omitempty"`
	Pushed    bool `json:"pushed"` // it is in the remote
	// Patch is the change in the format of git am, where this daemon may not push.
	Patch string `json:"patch,omitempty"`
}

// ChangeAnswer is what a call answers that makes a commit.
type ChangeAnswer struct {
	Committed
	Instance  string `json:"instance,omitempty"`
	Connector string `json:"connector,omitempty"`
	// Hint says what is left to do; empty: nothing.
	Hint string `json:"hint,omitempty"`
}

// patchHint is what is done with a patch.
const patchHint = "apply the patch where you may push: git am < FILE, then git push; or permit it here with push: true in agent.yaml"

// authorOf is the person who asks, as a commit names people.
func authorOf(ctx context.Context) Author {
	c, known := auth.From(ctx)
	name := strings.TrimSpace(c.Name)
	if name == "" {
		name, _, _ = strings.Cut(c.Email, "@")
	}
	if !known || name == "" {
		name = "Fairlead"
	}
	return namedAuthor(name, c.Email)
}

// namedAuthor is somebody of whom the name is known; without an address one of
// this host is made of it.
func namedAuthor(name, email string) Author {
	if email == "" {
		host, err := os.Hostname()
		if err != nil || host == "" {
			host = "localhost"
		}
		email = strings.ReplaceAll(name, " ", ".") + "@" + host
	}
	return Author{name, email}
}

// commit makes a commit and has the loop take it at once.
func (a *API) commit(ctx context.Context, c Change) (Committed, error) {
	if c.Author == (Author{}) {
		c.Author = authorOf(ctx)
	}
	defer a.cfg.Fleet.Attend(ctx)() // a watch of the repository may see the commit first
	done, err := a.cfg.Source.Commit(ctx, c)
	if isConflict(err) { // so that who tries again sees what is in the way
		err = errors.Join(sayAgain(ctx, err, c.again), a.cfg.Source.Sync(ctx))
	}
	if err != nil {
		return Committed{}, fmt.Errorf("commit: %w", err)
	}
	return done, a.taken(ctx, done)
}

// taken has the loop look at a commit that was made here.
func (a *API) taken(ctx context.Context, done Committed) error {
	if done.Patch != "" {
		return nil
	}
	if err := a.cfg.Source.Sync(ctx); err != nil {
		return withHint(fmt.Errorf("commit %s was made, but reading it: %w", done.Commit, err), "it is tried again by itself; fairlead status shows it")
	}
	_ = a.cfg.Fleet.Discover(ctx) // which Problems remembers
	for _, r := range a.cfg.Fleet.Instances() {
		r.Hint()
	}
	return nil
}

// asBefore is what becomes of a change that changes nothing.
func asBefore(s desired.Snapshot) Committed {
	return Committed{Commit: s.Commit, Unchanged: true}
}

// changed is the answer to a change of an instance.
func changed(done Committed, instance, connector string) ChangeAnswer {
	answer := ChangeAnswer{Committed: done, Instance: instance, Connector: connector}
	if done.Patch != "" {
		answer.Hint = patchHint
	}
	return answer
}

// isConflict says whether somebody else changed the same file meanwhile.
func isConflict(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusConflict && e.moved
}

// sayAgain has the hint of a conflict name what is to be repeated; other errors
// stay as they are.
func sayAgain(ctx context.Context, err error, again string) error {
	if !isConflict(err) {
		return err
	}
	if v, known := ctx.Value(visitKey{}).(*visit); !known || v.call == "" {
		again = "look at the newest state, and make the change again"
	} else if again == "" {
		again = "make the change on the newest state by the same call: " + v.call
	}
	e := AsError(err)
	e.Hint = strings.TrimPrefix(e.Hint+"; "+again, "; ")
	return e
}

// Moved is the error of a change whose files somebody else changed meanwhile.
// newest says by what; how the change is made again is added to it.
func Moved(cause error, newest string) *Error {
	return &Error{Status: http.StatusConflict, Detail: cause.Error(), Hint: newest, cause: cause, moved: true}
}
