package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/desired/secrets"
	"github.com/fairlead/fairlead/server"
)

// secretsFound is who carries out a command about secrets.
type secretsFound struct {
	secretBackend
	close func() error
}

func (s secretsFound) Close() error { return s.close() }

// isDirectory says whether a place is meant as a path, not as an instance:
// those have neither slashes nor dots.
func isDirectory(where string) bool {
	return where == "." || where == ".." || strings.ContainsRune(where, filepath.Separator)
}

// secretsAt finds the secrets of an instance of the daemon, or of a directory.
func (c *cli) secretsAt(ctx context.Context, where string, need access) (secretsFound, string, error) {
	if isDirectory(where) {
		t, err := c.secretTree(where)
		if err != nil {
			return secretsFound{}, "", err
		}
		return secretsFound{t, t.Close}, "", nil
	}
	b, err := c.connect(ctx, need)
	if err != nil {
		return secretsFound{}, "", err
	}
	return secretsFound{b, b.Close}, where, nil
}

// secretTree are the secrets in a work tree. Nothing is committed.
type secretTree struct {
	keyring
	root    *os.Root
	top     string   // of the repository
	dir     string   // of the instance, in the repository
	named   string   // the same as the person named it
	written []string // as the person would name them
}

var _ secretBackend = (*secretTree)(nil)

func (c *cli) secretTree(dir string) (*secretTree, error) {
	s, err := c.settings()
	if err != nil {
		return nil, err
	}
	top, below, err := repositoryOf(dir)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	t := &secretTree{keyring: s.keyring(), root: root, top: top, dir: below, named: dir}
	if !t.isInstance() {
		return nil, errors.Join(withHint(fmt.Errorf("%s is not the directory of an instance: it has no instance.yaml", dir),
			"secrets belong to one; fairlead init makes an instance"), root.Close())
	}
	return t, nil
}

func (t *secretTree) isInstance() bool {
	info, err := t.root.Lstat(path.Join(t.dir, "instance.yaml"))
	return err == nil && info.Mode().IsRegular()
}

// Close gives the directory back.
func (t *secretTree) Close() error { return t.root.Close() }

// Secrets implements secretBackend.
func (t *secretTree) Secrets(context.Context, string) (server.SecretList, error) {
	return t.List(t.root.FS(), t.dir)
}

// value is one secret in the clear, or none where it need only be there.
func (t *secretTree) value(list server.SecretList, name string, show bool) (string, error) {
	if !slices.Contains(list.Names, name) {
		return "", withHint(fmt.Errorf("%s has no secret %q", list.File, name), "fairlead secret list "+t.named+" lists them")
	}
	if !show {
		return "", nil
	}
	keys, err := t.read()
	if err != nil {
		return "", err
	}
	data, err := secrets.Read(t.root.FS(), t.dir)
	if err != nil {
		return "", err
	}
	values, err := secrets.Open(list.File, data, keys)
	return values[name], err
}

// SetSecret implements secretBackend.
func (t *secretTree) SetSecret(_ context.Context, _, name string, v server.SecretValue) (server.ChangeAnswer, error) {
	return t.change(t.Change(t.root.FS(), t.dir, map[string]*string{name: &v.Value}))
}

// RemoveSecret implements secretBackend.
func (t *secretTree) RemoveSecret(ctx context.Context, _, name string) (server.ChangeAnswer, error) {
	list, err := t.Secrets(ctx, "")
	if err == nil {
		_, err = t.value(list, name, false)
	}
	if err != nil {
		return server.ChangeAnswer{}, err
	}
	return t.change(t.Change(t.root.FS(), t.dir, map[string]*string{name: nil}))
}

// AdmitSecrets implements secretBackend.
func (t *secretTree) AdmitSecrets(_ context.Context, _ string, adm server.Admission) (server.ChangeAnswer, error) {
	return t.change(t.Admit(t.root.FS(), t.dir, adm))
}

// change writes files whole or not at all. Secrets come first: a .sops.yaml
// that names somebody who cannot read the file would promise too much.
func (t *secretTree) change(files map[string][]byte, err error) (server.ChangeAnswer, error) {
	if err != nil {
		return server.ChangeAnswer{}, err
	}
	for _, name := range slices.Backward(sortedNames(files)) {
		if err := t.writable(name); err != nil {
			return server.ChangeAnswer{}, err
		}
		if err := writeFile(filepath.Join(t.top, filepath.FromSlash(name)), files[name], 0o644); err != nil {
			return server.ChangeAnswer{}, err
		}
		t.written = append(t.written, shownAs(name, t.dir, t.named))
	}
	return server.ChangeAnswer{}, nil
}

// writable refuses to write through links: the file would be replaced, and
// what it led to would stay.
func (t *secretTree) writable(name string) error {
	info, err := t.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func sortedNames(files map[string][]byte) []string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// SetSecret records who did it, as the daemon does.
func (r recorded) SetSecret(ctx context.Context, instance, name string, v server.SecretValue) (server.ChangeAnswer, error) {
	return record(ctx, r, "setSecret", instance+"/"+name, func(ctx context.Context) (server.ChangeAnswer, error) { return r.API.SetSecret(ctx, instance, name, v) })
}

// RemoveSecret records who did it, as the daemon does.
func (r recorded) RemoveSecret(ctx context.Context, instance, name string) (server.ChangeAnswer, error) {
	return record(ctx, r, "removeSecret", instance+"/"+name, func(ctx context.Context) (server.ChangeAnswer, error) { return r.API.RemoveSecret(ctx, instance, name) })
}

// AdmitSecrets records who did it, as the daemon does.
func (r recorded) AdmitSecrets(ctx context.Context, instance string, adm server.Admission) (server.ChangeAnswer, error) {
	return record(ctx, r, "admitSecrets", instance, func(ctx context.Context) (server.ChangeAnswer, error) { return r.API.AdmitSecrets(ctx, instance, adm) })
}
