package git

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that callers tell apart with errors.Is. The text around them says what
// is wrong and what to do.
var (
	// ErrNoSnapshot: no revision was ever read; the cause of the last attempt is wrapped beside it.
	ErrNoSnapshot = errors.New("no revision has been read yet")
	// ErrEmpty: the repository, or the followed branch, has no commit.
	ErrEmpty = errors.New("the repository has no commit")
	// ErrRefNotFound: the followed ref does not exist (see RefError).
	ErrRefNotFound = errors.New("ref not found")
	// ErrAuth: the server refused the credentials.
	ErrAuth = errors.New("authentication refused")
	// ErrHostKey: the ssh server's key is unknown or not the pinned one.
	ErrHostKey = errors.New("host key not accepted")
	// ErrNotFound: the server has no such repository, or hides it.
	ErrNotFound = errors.New("repository not found")
	// ErrStalled: the server accepted the connection and then sent nothing.
	ErrStalled = errors.New("the server stopped answering")
	// ErrPushDisabled: a commit would have to be pushed, and may not.
	ErrPushDisabled = errors.New("pushing is not allowed (set push: true in agent.yaml to allow it)")
	// ErrNotBranch: a commit can only be added to a branch.
	ErrNotBranch = errors.New("what is followed is not a branch")
	// ErrConflict: the branch changed the same files meanwhile (see ConflictError).
	ErrConflict = errors.New("conflict")
	// ErrDirty: uncommitted edits are in the way (see DirtyError).
	ErrDirty = errors.New("uncommitted changes")
	// ErrSubmodule: the path lies in a submodule (see SubmoduleError).
	ErrSubmodule = errors.New("submodule")
	// ErrUnreadable: an object of the commit cannot be read any more. Take the
	// newest snapshot and try again: a mirror repairs itself.
	ErrUnreadable = errors.New("object cannot be read; try again with the newest revision")
	// ErrTooLarge: a file is larger than what is read from a repository.
	ErrTooLarge = errors.New("too large")
)

// RefError says that a ref does not exist, and which names are like it.
type RefError struct {
	Ref  string
	Near []string
	Gone bool // it existed before
}

func (e *RefError) Error() string {
	text := fmt.Sprintf("find ref %q: no such branch, tag or commit", e.Ref)
	if e.Gone {
		text = fmt.Sprintf("find ref %q: it was deleted from the repository; the last good revision is kept", e.Ref)
	}
	if len(e.Near) > 0 {
		text += "; there is " + strings.Join(e.Near, ", ")
	}
	return text
}

func (e *RefError) Unwrap() error { return ErrRefNotFound }

// SubmoduleError is what reading a submodule gives.
type SubmoduleError struct{ Path string }

func (e *SubmoduleError) Error() string {
	return fmt.Sprintf("submodule %s: not supported, vendor its files into the repository", e.Path)
}

func (e *SubmoduleError) Unwrap() error { return ErrSubmodule }

// DirtyError names the files whose uncommitted edits a commit would overwrite.
type DirtyError struct{ Paths []string }

func (e *DirtyError) Error() string {
	return "commit: uncommitted changes in " + strings.Join(e.Paths, ", ") + "; commit or discard them first"
}

func (e *DirtyError) Unwrap() error { return ErrDirty }

// ConflictError names the files that the branch changed meanwhile.
type ConflictError struct {
	Paths []string
	Base  string // the commit that the request was made on
	Tip   string // what the branch is now
}

func (e *ConflictError) Error() string {
	text := "commit: the branch moved from " + short(e.Base) + " to " + short(e.Tip) + " meanwhile"
	if len(e.Paths) > 0 {
		text += " and changed " + strings.Join(e.Paths, ", ")
	}
	return text + "; look at the newest revision and try again"
}

func (e *ConflictError) Unwrap() error { return ErrConflict }

func short(commit string) string {
	if len(commit) > 8 {
		return commit[:8]
	}
	return commit
}
