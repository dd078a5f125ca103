package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// repo is a git repository with a work tree.
type repo struct{ dir string }

// identity keeps git from reading the settings of the person who runs this.
var identity = []string{
	"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
	"GIT_AUTHOR_NAME=bench", "GIT_AUTHOR_EMAIL=bench@localhost",
	"GIT_COMMITTER_NAME=bench", "GIT_COMMITTER_EMAIL=bench@localhost",
}

func (r repo) git(ctx context.Context, args ...string) (string, error) {
	out, err := output(ctx, r.dir, identity, append([]string{"git"}, args...)...)
	return strings.TrimSpace(out), err
}

func makeRepo(ctx context.Context, dir string) (repo, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return repo{}, fmt.Errorf("make repository: %w", err)
	}
	r := repo{dir}
	_, err := r.git(ctx, "init", "-q", "-b", "main")
	return r, err
}

// stage writes files and makes a commit of them that no branch names yet.
func (r repo) stage(ctx context.Context, files map[string]string) (string, error) {
	for name, text := range files {
		path := filepath.Join(r.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", fmt.Errorf("write desired state: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return "", fmt.Errorf("write desired state: %w", err)
		}
	}
	if _, err := r.git(ctx, "add", "-A"); err != nil {
		return "", err
	}
	tree, err := r.git(ctx, "write-tree")
	if err != nil {
		return "", err
	}
	args := []string{"commit-tree", tree, "-m", "change"}
	if head, err := r.git(ctx, "rev-parse", "-q", "--verify", "HEAD"); err == nil {
		args = append(args, "-p", head)
	}
	return r.git(ctx, args...)
}

// publish makes a staged commit the newest: the last thing that git commit does. The time is that before it.
func (r repo) publish(ctx context.Context, commit string) (time.Time, error) {
	began := time.Now()
	_, err := r.git(ctx, "update-ref", "refs/heads/main", commit)
	return began, err
}

// commit is stage and publish.
func (r repo) commit(ctx context.Context, files map[string]string) (string, error) {
	hash, err := r.stage(ctx, files)
	if err == nil {
		_, err = r.publish(ctx, hash)
	}
	return hash, err
}

// composeFile describes n services of the same image, but for the first one's image and variable.
func composeFile(n int, first, image, round string) string {
	var text strings.Builder
	text.WriteString("services:\n")
	for i := range n {
		ref, value := image, "0"
		if i == 0 {
			ref, value = first, round
		}
		fmt.Fprintf(&text, "  s%d:\n    image: %s\n    environment:\n      ROUND: \"%s\"\n", i+1, ref, value)
	}
	return text.String()
}

// serveGit serves the repositories below dir over http on loopback, by git's own server program.
func serveGit(ctx context.Context, dir string) (*httptest.Server, error) {
	core, err := output(ctx, dir, nil, "git", "--exec-path")
	if err != nil {
		return nil, err
	}
	backend := filepath.Join(strings.TrimSpace(core), "git-http-backend")
	if _, err := exec.LookPath(backend); err != nil {
		return nil, fmt.Errorf("serve repository: %w", err)
	}
	handler := &cgi.Handler{Path: backend, Dir: dir,
		Env: append([]string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1"}, identity...)}
	return httptest.NewServer(http.Handler(handler)), nil
}
