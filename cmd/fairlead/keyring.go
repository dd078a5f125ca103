package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/secrets"
	"github.com/fairlead/fairlead/server"
)

// keyring is the file of age keys of this host. It is read for each use, so
// that another key counts at once.
type keyring struct {
	file  string
	given bool // by the operator, who makes it
}

func (s settings) keyring() keyring {
	if s.AgeKeyFile != "" {
		return keyring{s.AgeKeyFile, true}
	}
	return keyring{filepath.Join(s.Data, "state", "age.key"), false}
}

// make makes the key of the host at the first start.
func (k keyring) make() error {
	if k.given {
		return nil
	}
	if _, err := os.Lstat(k.file); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, _, err := secrets.NewKey(time.Now())
	if err != nil {
		return err
	}
	return writeFile(k.file, text, 0o600)
}

// read reads the keys. A host that has none is not an error: most need none.
func (k keyring) read() (*secrets.Keys, error) {
	info, err := os.Stat(k.file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !k.given:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read age key: %w", err)
	case info.Mode().Perm()&0o007 != 0:
		return nil, withHint(fmt.Errorf("read age key: %s is open to everybody (%s)", k.file, info.Mode().Perm()), "chmod 600 "+k.file)
	}
	data, err := readBounded(k.file, secrets.MaxKeys+1)
	if err != nil {
		return nil, fmt.Errorf("read age key: %w", err)
	}
	return secrets.ParseKeys(k.file, data)
}

// state changes whenever the keys may have.
func (k keyring) state() string {
	info, err := os.Stat(k.file)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}

func (k keyring) reader() secrets.Reader { return secrets.Reader{Keys: k.forLoad} }

// forLoad says where the keys are when they cannot be read: a revision is not
// wrong for that, but cannot be used here either.
func (k keyring) forLoad() (*secrets.Keys, error) {
	keys, err := k.read()
	var problems desired.Problems
	if err == nil || errors.As(err, &problems) {
		return keys, err
	}
	return nil, desired.Problems{{File: k.file, Text: err.Error(), Hint: hintOf(err)}}
}

// Change implements server.Secrets.
func (k keyring) Change(tree fs.FS, dir string, values map[string]*string) (map[string][]byte, error) {
	keys, err := k.read()
	if err != nil {
		return nil, err
	}
	return secrets.Change(tree, dir, keys, values, time.Now())
}

// Admit implements server.Secrets.
func (k keyring) Admit(tree fs.FS, dir string, a server.Admission) (map[string][]byte, error) {
	keys, err := k.read()
	if err != nil {
		return nil, err
	}
	return secrets.Rekey(tree, dir, keys, secrets.Admission(a), time.Now())
}

// List implements server.Secrets.
func (k keyring) List(tree fs.FS, dir string) (server.SecretList, error) {
	list := server.SecretList{File: path.Join(dir, secrets.File), Names: []string{}, Recipients: []string{}, Own: []string{}}
	keys, err := k.read()
	if err != nil {
		return list, err
	}
	list.Own = append(list.Own, keys.Recipients()...)
	data, err := secrets.Read(tree, dir)
	if err != nil || data == nil {
		rule, ruleErr := secrets.Recipients(tree, dir)
		list.Recipients = append(list.Recipients, rule.Recipients...)
		return list, errors.Join(err, ruleErr)
	}
	list.Exists = true
	if names, err := secrets.Names(list.File, data); err == nil {
		list.Names = append(list.Names, names...)
	}
	if who, err := secrets.RecipientsOf(list.File, data); err == nil {
		list.Recipients = who
	}
	if _, err := secrets.Open(list.File, data, keys); err != nil {
		list.Problem = err.Error()
	}
	list.Readable = list.Problem == ""
	return list, nil
}
