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

func (p *proxies) caddy(bin, addr, more string) (*process, error) {
	dir, err := os.MkdirTemp(p.dir, "caddy")
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(addr, ":")
	file := fmt.Sprintf("{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n\tlog {\n\t\toutput discard\n\t}\n\tstorage file_system %s\n}\n"+
		"https://%s:%s {\n\tbind 127.0.0.1\n\ttls %s %s\n\treverse_proxy %s %s\n}\n", dir, proxyHost, port, p.pair.chain, p.pair.key, p.backend, more)
	name := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
		return nil, err
	}
	return p.foreign(addr, dir, bin, "run", "--config", name, "--adapter", "caddyfile")
}

func (p *proxies) kamal(ctx context.Context, bin, addr string) (*process, error) {
	dir, err := os.MkdirTemp(p.dir, "kamal")
	if err != nil {
		return nil, err
	}
	plain, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(addr, ":")
	_, plainPort, _ := strings.Cut(plain, ":")
	proc, err := p.foreign("", dir, bin, "run", "--https-port", port, "--http-port", plainPort)
	if err != nil {
		return nil, err
	}
	deploy := []string{bin, "deploy", "bench", "--target", p.backend, "--host", proxyHost, "--health-check-path", "/", "--forward-headers",
		"--tls", "--tls-certificate-path", p.pair.chain, "--tls-private-key-path", p.pair.key}
	err = until(ctx, upLimit, func() (bool, error) {
		_, err := os.Stat(filepath.Join(dir, "kamal-proxy.sock"))
		return err == nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("start kamal-proxy: %w", err)
	}
	if _, err := output(ctx, dir, []string{"XDG_RUNTIME_DIR=" + dir, "HOME=" + dir}, deploy...); err != nil {
		return nil, err
	}
	return proc, answers(ctx, addr)
}

// foreign starts somebody else's program with a home of its own.
func (p *proxies) foreign(addr, dir, bin string, args ...string) (*process, error) {
	proc := &process{cmd: exec.Command(bin, args...)}
	proc.cmd.Dir, proc.cmd.Stderr = dir, nil
	proc.cmd.Env = append(cleanEnvironment(), "XDG_RUNTIME_DIR="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "HOME="+dir)
	if err := proc.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(bin), err)
	}
	p.started = append(p.started, proc)
	if addr == "" {
		return proc, nil
	}
	return proc, answers(context.Background(), addr)
}
