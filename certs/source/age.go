package source

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/fairlead/fairlead/desired/secrets"
)

func checkAge(r *Ref) error {
	if r.path = strings.TrimSuffix(r.place+"/"+r.path, "/"); !fs.ValidPath(r.path) {
		return invalid("write age://PATH, a path in the repository from its root")
	}
	return nil
}

// fetchAge decrypts a file of the revision with the identities of this host.
func fetchAge(_ context.Context, j *job) (Blob, error) {
	if j.use.Tree == nil {
		return Blob{}, fail(ErrRefused, "there is no revision to read it from")
	}
	sealed, err := readTree(j.use.Tree, j.ref.path)
	if err != nil {
		return Blob{}, err
	}
	keys, err := j.keys()
	if err != nil {
		return Blob{}, err
	}
	data, err := keys.Unseal(sealed, MaxSize)
	switch {
	case errors.Is(err, secrets.ErrForOthers):
		return Blob{}, fail(ErrForbidden, "it is encrypted for others: none of the identities of %s is a recipient", j.opts.AgeIdentities)
	case err != nil:
		return Blob{}, fail(ErrWrongKind, "%s", err)
	}
	return Blob{Data: data}, nil
}

func readTree(tree fs.FS, name string) ([]byte, error) {
	file, err := tree.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fail(ErrNotFound, "the revision has no such file; the path is from the root of the repository")
	}
	if err != nil {
		return nil, fail(ErrFailed, "open: %s", cause(err))
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, fail(ErrWrongKind, "it is not a regular file")
	}
	const most = 2 * MaxSize // armour and chunks add to it
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	switch {
	case err != nil:
		return nil, fail(ErrFailed, "read: %s", cause(err))
	case len(data) > most:
		return nil, fail(ErrTooLarge, "it has more than %d bytes", most)
	}
	return data, nil
}

// keys are read for every fetch, so that a new one counts at once.
func (f *Fetcher) keys() (*secrets.Keys, error) {
	if f.opts.AgeIdentities == "" {
		return nil, fail(ErrRefused, "this host has no file of age identities")
	}
	data, err := readHostFile(f.opts.AgeIdentities, true)
	if err != nil {
		return nil, err
	}
	keys, err := secrets.ParseKeys(f.opts.AgeIdentities, data)
	if err != nil {
		return nil, fail(ErrRefused, "%s holds no age identity that is understood; age-keygen makes one", f.opts.AgeIdentities)
	}
	return keys, nil
}
