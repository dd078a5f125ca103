package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/git"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// commitKey is the key that signs the commits of this host, where a policy asks
// for signatures. Beside it lies its line for files of allowed signers.
type commitKey struct{ file, public string }

func (s settings) commitKey() commitKey {
	return commitKey{filepath.Join(s.Data, "state", "commit.key"), filepath.Join(s.Data, "state", "commit.pub")}
}

// maxCommitKey bounds the file of a key.
const maxCommitKey = 64 << 10

// make makes the key at the first start, and its line whenever that is missing.
func (k commitKey) make() error {
	_, err := os.Lstat(k.file)
	if errors.Is(err, fs.ErrNotExist) {
		var text []byte
		if text, err = git.NewSigner("fairlead"); err == nil {
			err = writeFile(k.file, text, 0o600)
		}
	}
	if err != nil {
		return fmt.Errorf("make key for commits: %w", err)
	}
	if _, err := os.Lstat(k.public); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := k.read()
	if err != nil {
		return err
	}
	return writeFile(k.public, []byte(k.line(key)+"\n"), 0o644)
}

func (k commitKey) read() (git.Signer, error) {
	text, err := readBounded(k.file, maxCommitKey)
	if err != nil {
		return nil, fmt.Errorf("read key for commits: %w", err)
	}
	return git.ParseSigner(text)
}

var notInPrincipal = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// line is the key as a line of a file of allowed signers.
func (k commitKey) line(key git.Signer) string {
	host, err := os.Hostname()
	if host = notInPrincipal.ReplaceAllString(host, "-"); err != nil || host == "" {
		host = "localhost"
	}
	return git.SignerLine("fairlead@"+host, key)
}

// signing signs one commit of this host's own, when that is asked for.
type signing struct {
	source
	starts []*desired.PolicySpec // of the result, which ask for signatures
}

// begin returns what is to be told of each instance of a result.
func (g *signing) begin() func(desired.Spec) {
	g.starts = nil
	return func(spec desired.Spec) {
		if p := spec.Policy; p != nil && p.Signed {
			g.starts = append(g.starts, p)
		}
	}
}

// sign is for git: the key, or why there is no commit. A signature vouches for
// all that is below it, so what nobody vouched for gets none on top.
func (g *signing) sign(onto desired.Snapshot) (git.Signer, error) {
	if g.store == nil {
		return nil, nil
	}
	anchors, err := vouching(g.settings).Onto(g.store, onto)
	if err != nil {
		return nil, &server.Error{Status: http.StatusConflict, Detail: "commit: " + err.Error(), Hint: "have the newest commit signed by one of those who may, then send this again"}
	}
	if len(anchors) == 0 { // the first to ask for signatures needs one of its own
		for _, p := range g.starts {
			anchors = append(anchors, reconciler.Anchor{File: p.SignersFile, Signers: p.Signers})
		}
	}
	if len(anchors) == 0 {
		return nil, nil
	}
	key, err := g.settings.commitKey().read()
	if err != nil {
		return nil, err
	}
	for _, a := range anchors {
		list, err := git.ParseSigners(a.File, []byte(a.Signers))
		if err != nil {
			return nil, err
		}
		if !list.Lists(key) {
			return nil, &server.Error{Status: http.StatusConflict, Detail: "commit: a policy asks for signatures, and the key of this host is not listed in " + a.File,
				Hint: "make the change in git and sign it; or have one of the signers add this line: " + g.settings.commitKey().line(key)}
		}
	}
	return key, nil
}
