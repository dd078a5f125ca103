package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/desired"
)

// Secrets makes and reads the encrypted file of an instance, with the keys of
// this host. Its methods return files of a commit by their path in the tree,
// without making one, and none where nothing changes.
type Secrets interface {
	// Change sets secrets of the instance in dir of tree; nil removes one.
	Change(tree fs.FS, dir string, values map[string]*string) (map[string][]byte, error)
	// Admit changes for whom they are encrypted.
	Admit(tree fs.FS, dir string, a Admission) (map[string][]byte, error)
	// List tells what there is without its values.
	List(tree fs.FS, dir string) (SecretList, error)
}

// SecretList is what may be known of the secrets of an instance.
type SecretList struct {
	Instance string `json:"instance,omitempty"`
	File     string `json:"file" doc:"in the repository" example:"instances/acme/secrets.enc.yaml"`
	// Exists says whether there is a file; the first secret makes it.
	Exists     bool     `json:"exists"`
	Names      []string `json:"names"`
	Recipients []string `json:"recipients" doc:"for whom the file is encrypted: public age keys, and other keys as KIND:KEY"`
	// Own are the public keys of this host, Readable whether it opens the file.
	Own      []string `json:"own"`
	Readable bool     `json:"readable"`
	Problem  string   `json:"problem,omitempty" doc:"why the file cannot be used, and what to do"`
}

// SecretValue is what a secret is set to.
type SecretValue struct {
	Value string `json:"value" doc:"the secret; it is committed encrypted and shown nowhere"`
}

// Admission changes for whom secrets are encrypted.
type Admission struct {
	Add    []string `json:"add,omitempty" maxItems:"100" doc:"public age keys"`
	Remove []string `json:"remove,omitempty" maxItems:"100" doc:"public age keys; the values are encrypted anew, and should be replaced: who is removed knows them"`
	Rotate bool     `json:"rotate,omitempty" doc:"encrypt the values anew although nobody is removed"`
}

// Secrets lists the secrets of an instance that are in the repository, without
// their values.
func (a *API) Secrets(ctx context.Context, instance string) (SecretList, error) {
	dir, snapshot, err := a.secretsOf(ctx, instance)
	if err != nil {
		return SecretList{}, err
	}
	list, err := a.cfg.Secrets.List(snapshot.Tree, dir)
	list.Instance = instance
	return list, err
}

// SetSecret commits a secret, encrypted.
func (a *API) SetSecret(ctx context.Context, instance, name string, v SecretValue) (ChangeAnswer, error) {
	return a.changeSecrets(ctx, instance, fmt.Sprintf("Set the secret %s of %s", name, instance), func(tree fs.FS, dir string) (map[string][]byte, error) {
		return a.cfg.Secrets.Change(tree, dir, map[string]*string{name: &v.Value})
	})
}

// RemoveSecret commits that a secret is gone. What it was stays in the history
// of the repository, for those who could read it.
func (a *API) RemoveSecret(ctx context.Context, instance, name string) (ChangeAnswer, error) {
	list, err := a.Secrets(ctx, instance)
	if err != nil {
		return ChangeAnswer{}, err
	}
	if !slices.Contains(list.Names, name) {
		hint := "there are none"
		if len(list.Names) > 0 {
			hint = "there are: " + strings.Join(list.Names, ", ")
		}
		return ChangeAnswer{}, &Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("remove secret: %s has no secret %q", instance, name), Hint: hint}
	}
	return a.changeSecrets(ctx, instance, fmt.Sprintf("Remove the secret %s of %s", name, instance), func(tree fs.FS, dir string) (map[string][]byte, error) {
		return a.cfg.Secrets.Change(tree, dir, map[string]*string{name: nil})
	})
}

// AdmitSecrets commits for whom the secrets of an instance are encrypted from
// now on.
func (a *API) AdmitSecrets(ctx context.Context, instance string, adm Admission) (ChangeAnswer, error) {
	return a.changeSecrets(ctx, instance, "Change who can read the secrets of "+instance, func(tree fs.FS, dir string) (map[string][]byte, error) {
		return a.cfg.Secrets.Admit(tree, dir, adm)
	})
}

// secretsOf finds the directory of an instance in the newest revision.
func (a *API) secretsOf(ctx context.Context, instance string) (string, desired.Snapshot, error) {
	if a.cfg.Secrets == nil {
		return "", desired.Snapshot{}, &Error{Status: http.StatusNotFound, Detail: "this process keeps no secrets", Hint: "ask the daemon"}
	}
	r, err := a.find(instance)
	if err != nil {
		return "", desired.Snapshot{}, err
	}
	snapshot, err := a.cfg.Source.Latest(ctx)
	if err != nil {
		return "", desired.Snapshot{}, fmt.Errorf("read desired state: %w", err)
	}
	return r.Status().Dir, snapshot, nil
}

// secretTries bounds how often a change is made anew because somebody else
// committed meanwhile.
const secretTries = 3

func (a *API) changeSecrets(ctx context.Context, instance, subject string, change func(fs.FS, string) (map[string][]byte, error)) (ChangeAnswer, error) {
	for try := 1; ; try++ {
		dir, snapshot, err := a.secretsOf(ctx, instance)
		if err != nil {
			return ChangeAnswer{}, err
		}
		files, err := change(snapshot.Tree, dir)
		if err != nil {
			return ChangeAnswer{}, secretError(err)
		}
		if len(files) == 0 {
			return changed(asBefore(snapshot), instance, ""), nil
		}
		done, err := a.commit(ctx, Change{Files: files, Message: subject + "\n", Base: snapshot.Commit})
		if err == nil || !isConflict(err) || try == secretTries {
			return changed(done, instance, ""), err
		}
	}
}

// secretError is what the caller asked wrongly, or what is wrong with the file.
func secretError(err error) error {
	var problems desired.Problems
	if !errors.As(err, &problems) {
		return invalid(err)
	}
	e := AsError(err)
	e.Hint = ""
	for _, p := range problems {
		if p.Hint != "" {
			e.Hint = p.Hint
			break
		}
	}
	return e
}
