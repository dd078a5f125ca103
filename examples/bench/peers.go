package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// peer is a proxy of somebody else's, built from its own Go module outside of ours and kept in the cache.
type peer struct {
	name    string // of the binary
	pkg     string
	version string
	env     string // names a binary that is there already
}

func caddy() peer {
	return peer{"caddy", "github.com/caddyserver/caddy/v2/cmd/caddy", "v2.11.9", "FAIRLEAD_CADDY"}
}

func kamalProxy() peer {
	return peer{"kamal-proxy", "github.com/basecamp/kamal-proxy/cmd/kamal-proxy", "v0.9.2", "FAIRLEAD_KAMAL_PROXY"}
}

const peerLimit = 20 * time.Minute

// find returns the binary, building it when it is not there. The checksum database of Go vouches for the module.
func (p peer) find(ctx context.Context, b *bench) (string, error) {
	if named := os.Getenv(p.env); named != "" {
		return named, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", p.name, err)
	}
	dest := filepath.Join(cache, "fairlead", p.name+"-"+p.version)
	if _, err := os.Stat(dest); err == nil {
		return dest, nil
	}
	if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return "", fmt.Errorf("build %s: %w", p.name, err)
	}
	work, err := os.MkdirTemp(filepath.Dir(dest), p.name) // beside dest, for the rename
	if err != nil {
		return "", fmt.Errorf("build %s: %w", p.name, err)
	}
	defer func() { _ = os.RemoveAll(work) }() // what is left is a cache
	b.tell("build %s %s, once", p.name, p.version)
	ctx, cancel := context.WithTimeout(ctx, peerLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", "-ldflags=-s -w", p.pkg+"@"+p.version)
	cmd.Dir = work // not in our module
	cmd.Env = append(os.Environ(), "GOBIN="+work, "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		return "", fmt.Errorf("build %s: %w: %s", p.name, errors.Join(context.Cause(ctx), err), strings.TrimSpace(lines[len(lines)-1]))
	}
	return dest, os.Rename(filepath.Join(work, p.name), dest)
}
