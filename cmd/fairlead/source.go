package main

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
	"github.com/fairlead/fairlead/desired/git"
	"github.com/fairlead/fairlead/reconciler"
)

// source is the repository as the reconciler and the server want it.
type source struct {
	*git.Repo
	settings settings
	store    *reconciler.Store // nil: there is none yet
}

func (s source) Status() reconciler.SourceStatus {
	st := s.Repo.Status()
	ref := st.Ref
	if ref == "" {
		ref = s.settings.Ref
	}
	return reconciler.SourceStatus{Repo: redactURL(s.settings.Repo), Ref: ref, LastSuccess: st.LastSuccess, Err: st.Err}
}

// redactURL takes the password out of a repository's URL.
func redactURL(repo string) string {
	scheme, rest, found := strings.Cut(repo, "://")
	at := strings.LastIndexByte(strings.SplitN(rest, "/", 2)[0], '@')
	if !found || at < 0 {
		return repo
	}
	user, _, _ := strings.Cut(rest[:at], ":")
	return scheme + "://" + user + rest[at:]
}

// rootName names an instance at the root of the repository.
func rootName(s settings) string {
	return strings.TrimSuffix(path.Base(filepath.ToSlash(strings.TrimRight(s.Repo, "/"))), ".git")
}

func load(s settings) reconciler.LoadFunc {
	keys, private, shared := s.keyring().reader(), s.private(), s.shared()
	return func(tree fs.FS, dir string, local fs.FS) (desired.Spec, error) {
		return desired.Load(desired.Input{Tree: tree, Dir: dir, Local: local, RootName: rootName(s), Compose: compose.Load, Secrets: keys,
			Bounds: s.bounds(), Private: private, Shared: shared, Real: s.real(), Signers: git.CheckSigners})
	}
}

// discover finds the instances of a tree. A directory whose name cannot be
// read is found without one, and the error says why.
func discover(s settings) func(fs.FS) ([]reconciler.Found, error) {
	return func(tree fs.FS) ([]reconciler.Found, error) {
		dirs, err := desired.Discover(tree, s.Paths)
		var all desired.Problems
		if err != nil && !errors.As(err, &all) {
			return nil, err
		}
		if s.begins() && len(dirs) == 0 && len(all) == 1 && all[0].File == "." {
			return nil, nil // nobody has set anything up yet
		}
		found, taken := []reconciler.Found{}, map[string]bool{}
		for _, dir := range dirs {
			name, err := desired.NameOf(tree, dir, rootName(s))
			var problems desired.Problems
			switch {
			case errors.As(err, &problems):
				all = append(all, problems...)
			case err != nil:
				return nil, err
			case taken[name]:
				continue // which is one of the problems
			}
			taken[name] = name != ""
			found = append(found, reconciler.Found{Name: name, Dir: dir})
		}
		return found, all.Err()
	}
}
