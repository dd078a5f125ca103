package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
	"github.com/fairlead/fairlead/desired/git"
	"github.com/fairlead/fairlead/desired/secrets"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// Commit implements server.Source.
func (s source) Commit(ctx context.Context, c server.Change) (server.Committed, error) {
	var paths []string
	for name := range c.Files {
		paths = append(paths, name)
	}
	by := &signing{source: s}
	req := git.CommitRequest{Files: c.Files, Message: c.Message, Author: git.Author(c.Author), Base: c.Base, Sign: by.sign,
		Check: func(tree fs.FS) error { return s.checkResult(tree, paths, by.begin()) }}
	return s.made(ctx, func() (desired.Revision, error) { return s.Repo.Commit(ctx, req) }, func() ([]byte, error) { return s.Repo.Patch(ctx, req) })
}

// Restore implements server.Source.
func (s source) Restore(ctx context.Context, r server.Restoration) (server.Committed, error) {
	by := &signing{source: s}
	req := git.RestoreRequest{Path: r.Dir, Commit: r.Commit, Message: r.Message, Author: git.Author(r.Author), Sign: by.sign,
		Check: func(tree fs.FS) error {
			return s.checkResult(tree, []string{path.Join(r.Dir, "instance.yaml")}, by.begin())
		}}
	return s.made(ctx, func() (desired.Revision, error) { return s.Repo.Restore(ctx, req) }, func() ([]byte, error) { return s.Repo.PatchRestore(ctx, req) })
}

// made makes a commit, or a patch where pushing is not allowed.
func (s source) made(ctx context.Context, commit func() (desired.Revision, error), patch func() ([]byte, error)) (server.Committed, error) {
	before := s.Repo.Status().Commit
	rev, err := commit()
	if err == nil {
		return server.Committed{Commit: rev.Commit, Unchanged: rev.Commit == before, Pushed: !s.Repo.Status().Local}, nil
	}
	if !errors.Is(err, git.ErrPushDisabled) {
		return server.Committed{}, s.refused(ctx, err)
	}
	text, err := patch()
	if err != nil {
		return server.Committed{}, s.refused(ctx, err)
	}
	if text == nil { // nothing would change
		return server.Committed{Commit: s.Repo.Status().Commit, Unchanged: true}, nil
	}
	return server.Committed{Patch: string(text)}, nil
}

// refused says why there is no commit, and what to do.
func (s source) refused(ctx context.Context, err error) error {
	var problems desired.Problems
	if errors.As(err, &problems) {
		e := server.AsError(err)
		e.Hint = "nothing was committed: mend what is said, and send it again"
		return e
	}
	answer := func(status int, hint string) error {
		return &server.Error{Status: status, Detail: err.Error(), Hint: hint}
	}
	switch {
	case errors.Is(err, git.ErrConflict):
		return server.Moved(err, s.meanwhile(ctx))
	case errors.Is(err, git.ErrNotBranch):
		return answer(http.StatusConflict, "have the daemon follow a branch: ref in agent.yaml; or make the change in git and move what is followed")
	case errors.Is(err, git.ErrDirty):
		return answer(http.StatusConflict, "commit or discard the edits in the work tree of "+redactURL(s.settings.Repo)+", then send it again")
	case errors.Is(err, git.ErrEmpty):
		return answer(http.StatusConflict, "push a first commit to it, a README is enough")
	case errors.Is(err, git.ErrRefNotFound):
		return answer(http.StatusNotFound, "git log shows the commits that there are")
	case errors.Is(err, git.ErrAuth), errors.Is(err, git.ErrHostKey), errors.Is(err, git.ErrNotFound):
		return answer(http.StatusBadGateway, "give the credentials of auth in agent.yaml the right to push")
	case errors.Is(err, git.ErrStalled), errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return answer(http.StatusGatewayTimeout, "fairlead status tells whether the repository can be reached; then send it again")
	}
	if _, cut := errors.AsType[net.Error](err); cut && ctx.Err() == nil {
		return answer(http.StatusBadGateway, "nothing was committed: see that the repository can be reached (POST /api/source/sync tries, fairlead status tells), then send it again")
	}
	return err
}

// meanwhile says what the newest revision is, which was in the way; empty: it
// cannot be read now.
func (s source) meanwhile(ctx context.Context) string {
	if err := s.Repo.Sync(ctx); err != nil {
		return ""
	}
	tip, err := s.Repo.Latest(ctx)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("the newest revision is %s by %s, %q", tip.Short(), tip.Author, tip.Subject)
}

// checkResult loads the instances of this host that a commit would change, as
// the loop would load them next, and shows those that load. It returns everything
// wrong at once.
func (s source) checkResult(tree fs.FS, paths []string, sees func(desired.Spec)) error {
	found, err := discover(s.settings)(tree)
	var odd, all desired.Problems
	if err != nil && !errors.As(err, &odd) {
		return fmt.Errorf("check the result: %w", err)
	}
	touched := touchedBy(found, paths)
	for _, p := range odd { // what is wrong elsewhere does not come of this
		if slices.ContainsFunc(paths, func(name string) bool { return path.Dir(name) == path.Dir(p.File) }) {
			all = append(all, p)
		}
	}
	all = append(all, s.unseen(found, paths, tree)...)
	var claimers []claimer
	for _, f := range found {
		spec, problems, err := s.loadHere(tree, f)
		switch {
		case err != nil && touched[f.Dir]:
			return fmt.Errorf("check the result: %w", err)
		case touched[f.Dir]:
			all = append(all, s.causedBy(f, paths, problems)...)
		}
		if err == nil && len(problems) == 0 {
			sees(spec)
			claimers = append(claimers, claimer{name: f.Name, found: &validated{Dir: f.Dir}, claims: claimsOf(spec, tree, f.Dir)})
		}
	}
	checkClaims(claimers)
	for _, c := range claimers {
		if touched[c.found.Dir] {
			all = append(all, c.found.Problems...)
		}
	}
	return all.Err()
}

// causedBy are the problems that a change brings. Of one of secrets alone those
// do not count that were there before: an instance lacks several as often as
// not, and nobody could set the first of them otherwise.
func (s source) causedBy(f reconciler.Found, paths []string, problems desired.Problems) desired.Problems {
	if len(problems) == 0 || slices.ContainsFunc(paths, func(name string) bool { return !ofSecrets(name) }) {
		return problems
	}
	before, err := s.Repo.Latest(context.Background())
	if err != nil {
		return problems
	}
	_, old, err := s.loadHere(before.Tree, f)
	if err != nil {
		return problems
	}
	return slices.DeleteFunc(slices.Clone(problems), func(p desired.Problem) bool { return slices.Contains(old, p) })
}

func ofSecrets(name string) bool {
	return path.Base(name) == secrets.File || path.Base(name) == secrets.ConfigFile
}

// touchedBy are the directories of the instances that bear on what is changed: a
// file outside of all can be included by any.
func touchedBy(found []reconciler.Found, paths []string) map[string]bool {
	touched := map[string]bool{}
	for _, name := range paths {
		owned := path.Base(name) == ".sops.yaml" // only who encrypts reads it
		for _, f := range found {
			if f.Dir == "." || strings.HasPrefix(name, f.Dir+"/") {
				touched[f.Dir], owned = true, true
			}
		}
		for _, f := range found {
			touched[f.Dir] = touched[f.Dir] || !owned
		}
	}
	return touched
}

// unseen are instances that a commit makes and that this host would not look at.
func (s source) unseen(found []reconciler.Found, paths []string, tree fs.FS) (problems desired.Problems) {
	for _, name := range paths {
		if path.Base(name) != "instance.yaml" || slices.ContainsFunc(found, func(f reconciler.Found) bool { return f.Dir == path.Dir(name) }) {
			continue
		}
		if _, err := fs.Stat(tree, name); err != nil {
			continue // it goes
		}
		hint := "instances are looked for at the root, and else directly below it and below instances/"
		if len(s.settings.Paths) > 0 {
			hint = "paths of agent.yaml is " + strings.Join(s.settings.Paths, ", ")
		}
		problems = append(problems, desired.Problem{File: name, Text: "this host would not look at an instance there", Hint: hint})
	}
	return problems
}

// loadHere loads an instance with the files that this host has of it.
func (s source) loadHere(tree fs.FS, f reconciler.Found) (desired.Spec, desired.Problems, error) {
	local, done, err := s.localOf(f.Name)
	if err != nil {
		return desired.Spec{}, nil, err
	}
	defer done()
	spec, err := load(s.settings)(tree, f.Dir, local)
	var problems desired.Problems
	if errors.As(err, &problems) {
		return spec, problems, nil
	}
	return spec, nil, err
}

// localOf are the files that this host alone has of an instance; nil: none.
func (s source) localOf(instance string) (fs.FS, func(), error) {
	none := func() {}
	if instance == "" {
		return nil, none, nil
	}
	root, err := os.OpenRoot(filepath.Join(s.settings.Data, "instances", instance, "local"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, none, nil
	}
	if err != nil {
		return nil, none, fmt.Errorf("read local files of %s: %w", instance, err)
	}
	return root.FS(), func() { root.Close() }, nil
}

// drafts answers what the API asks about connectors that no commit has.
type drafts struct {
	source
	probe func(context.Context, desired.ConnectorSpec, int) (server.Discovery, error)
}

var _ server.Drafts = drafts{}

// keepDrafts puts them together over the connectors of the daemon.
func keepDrafts(src source, parts *dataParts) server.Drafts {
	return drafts{src, func(ctx context.Context, spec desired.ConnectorSpec, limit int) (server.Discovery, error) {
		found, more, err := parts.Manager.Discover(ctx, "", "", &spec, limit)
		return server.Discovery{Tables: found, More: more}, err
	}}
}

// Find implements server.Drafts.
func (d drafts) Find(tree fs.FS) ([]reconciler.Found, error) { return discover(d.settings)(tree) }

// Connector implements server.Drafts.
func (d drafts) Connector(tree fs.FS, instance, dir, name string, file []byte, values map[string]string) (desired.ConnectorSpec, error) {
	local, done, err := d.localOf(instance)
	if err != nil {
		return desired.ConnectorSpec{}, err
	}
	defer done()
	in := desired.Input{Tree: tree, Dir: dir, Local: local, Compose: compose.Load, Secrets: d.settings.keyring().reader()}
	return desired.LoadConnector(in, instance, name, file, values)
}

// Probe implements server.Drafts.
func (d drafts) Probe(ctx context.Context, spec desired.ConnectorSpec, limit int) (server.Discovery, error) {
	return d.probe(ctx, spec, limit)
}
