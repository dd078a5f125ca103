package main

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

//go:embed instance
var instanceFiles embed.FS

// git runs git in the demo's repository, without whatever the user configured: no hooks, no signing, no editor.
func (p place) git(ctx context.Context, args ...string) (string, error) {
	env := []string{
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_EDITOR=true", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Olivia Operator", "GIT_AUTHOR_EMAIL=olivia@example.com",
		"GIT_COMMITTER_NAME=Olivia Operator", "GIT_COMMITTER_EMAIL=olivia@example.com",
		"GIT_DIR=" + filepath.Join(p.repo(), ".git"), "GIT_WORK_TREE=" + p.repo(),
	}
	out, err := output(ctx, p.repo(), env, append([]string{"git"}, args...)...)
	return strings.TrimSpace(out), err
}

// initRepository makes a repository with nothing but a README.
func (p place) initRepository(ctx context.Context) error {
	if err := os.MkdirAll(p.repo(), 0o755); err != nil {
		return fmt.Errorf("make repository: %w", err)
	}
	readme := "# Desired state\n\nOne directory an instance, under instances/.\n"
	_, err := p.git(ctx, "init", "--quiet", "--initial-branch=main")
	for key, value := range map[string]string{"user.name": "Olivia Operator", "user.email": "olivia@example.com"} { // for whoever goes on by hand
		if err == nil {
			_, err = p.git(ctx, "config", key, value)
		}
	}
	return errors.Join(err, writeFile(filepath.Join(p.repo(), "README.md"), readme), p.commit(ctx, "Begin"))
}

func (p place) commit(ctx context.Context, message string) error {
	if _, err := p.git(ctx, "add", "--all"); err != nil {
		return err
	}
	_, err := p.git(ctx, "commit", "--quiet", "--message", message)
	return err
}

func (p place) head(ctx context.Context) (string, error) { return p.git(ctx, "rev-parse", "HEAD") }

// writeInstance writes the instance with this demo's name, registry and host.
func (p place) writeInstance(registry string) error {
	values := strings.NewReplacer("127.0.0.1:5055/demo", registry+"/"+p.name, "name: demo", "name: "+p.name, "demo.localhost", p.host())
	return fs.WalkDir(instanceFiles, "instance", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := instanceFiles.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("instance", name)
		if err != nil {
			return err
		}
		return writeFile(filepath.Join(p.instance(), rel), values.Replace(string(content)))
	})
}

// edit replaces a text in a file of the instance; it must be there.
func (p place) edit(file, old, new string) error {
	name := filepath.Join(p.instance(), file)
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if !strings.Contains(string(content), old) {
		return fmt.Errorf("edit %s: it does not hold %q", file, old)
	}
	return writeFile(name, strings.ReplaceAll(string(content), old, new))
}

// writeSecret writes what must not be in git: the password with which the smoke test logs in.
func (p place) writeSecret(context.Context) error {
	dir := filepath.Join(p.data(), "instances", p.name, "local")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ".env"), []byte("SMOKE_PASSWORD="+rand.Text()+"\n"), 0o600)
}

const diffLines = 14

// changed is the newest commit in short: its changed lines, or its files when they are new.
func (p place) changed(ctx context.Context) ([]string, error) {
	out, err := p.git(ctx, "show", "--format=", "--unified=0", "--diff-filter=M", "HEAD")
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, line := range strings.Split(out, "\n") {
		switch {
		case strings.HasPrefix(line, "+++ b/"):
			lines = append(lines, strings.TrimPrefix(line, "+++ b/"))
		case strings.HasPrefix(line, "---"), strings.HasPrefix(line, "diff "), strings.HasPrefix(line, "index "), strings.HasPrefix(line, "@@"), line == "":
		default:
			lines = append(lines, "  "+line)
		}
	}
	added, err := p.git(ctx, "show", "--format=", "--name-only", "--diff-filter=A", "HEAD")
	for _, name := range strings.Fields(added) {
		lines = append(lines, "new: "+name)
	}
	if len(lines) > diffLines {
		lines = append(lines[:diffLines], fmt.Sprintf("… %d more lines", len(lines)-diffLines))
	}
	return lines, err
}
