package main

import (
	"context"

	"github.com/fairlead/fairlead/desired/git"
	"github.com/fairlead/fairlead/server"
)

// Commit implements server.Source.
func (s source) Commit(ctx context.Context, c server.Change) (server.Committed, error) {
	rev, err := s.Repo.Commit(ctx, git.CommitRequest{Files: c.Files, Message: c.Message, Author: git.Author(c.Author), Base: c.Base})
	return server.Committed{Commit: rev.Commit, Pushed: err == nil && !s.Repo.Status().Local}, err
}

// Restore implements server.Source.
func (s source) Restore(ctx context.Context, r server.Restoration) (server.Committed, error) {
	rev, err := s.Repo.Restore(ctx, git.RestoreRequest{Path: r.Dir, Commit: r.Commit, Message: r.Message, Author: git.Author(r.Author)})
	return server.Committed{Commit: rev.Commit, Pushed: err == nil && !s.Repo.Status().Local}, err
}
