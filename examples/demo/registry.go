package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/fairlead/fairlead/examples/registry"
)

const (
	registryAddress = "registry.addr" // written when the registry serves everything
	registryLimit   = 2 * time.Minute // the first time, the example app is compiled
)

// releases are the images of the story, by repository and tag.
var releases = []struct {
	repo, tag string
	app       registry.App
}{
	{"app", "stable-2026.11.1", registry.App{Version: "2026.11.1"}},
	{"app", "stable-2026.11.2", registry.App{Version: "2026.11.2"}},
	{"app", "stable-2026.11.3", registry.App{Version: "2026.11.3", Sick: true}},
	{"app", "stable-2026.11.4", registry.App{Version: "2026.11.4"}},
	{"app", "stable-2026.11.5", registry.App{Version: "2026.11.5", Sick: true}},
	{"app", "stable-2026.11.6", registry.App{Version: "2026.11.6", Env: cannotQuery}},
	{"app", "stable-2026.11.7", registry.App{Version: "2026.11.7"}},
	{"app", "stable-2026.11.8", registry.App{Version: "2026.11.8", Sick: true}},
	{"app", "stable-2026.11.9", registry.App{Version: "2026.11.9", Env: cannotQuery}},
	{"app", "stable-2026.11.10", registry.App{Version: "2026.11.10"}},
	{"db", "16", registry.App{Version: "16"}},
}

// cannotQuery makes a build that is healthy and yet cannot do its work.
var cannotQuery = map[string]string{"APP_QUERY_EMPTY": "true"}

// serveRegistry serves the images until a signal comes. It is the demo binary itself, in the background.
func serveRegistry(ctx context.Context, p place) error {
	r, err := registry.Start(registry.Options{})
	if err != nil {
		return err
	}
	for _, rel := range releases {
		if _, _, err := r.Push(ctx, p.name+"/"+rel.repo, rel.tag, rel.app); err != nil {
			return errors.Join(err, r.Close())
		}
	}
	if err := r.Tag(ctx, p.name+"/app", "stable-2026.11.1", channel); err != nil {
		return errors.Join(err, r.Close())
	}
	if err := writeFile(p.in(registryAddress), r.Addr()+"\n"); err != nil {
		return errors.Join(fmt.Errorf("tell address of registry: %w", err), r.Close())
	}
	<-ctx.Done()
	return r.Close()
}

// address is where the registry serves; empty until it does.
func (p place) address() string {
	data, err := os.ReadFile(p.in(registryAddress))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// startRegistry starts the registry in the background and returns its address.
func (p place) startRegistry(ctx context.Context) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("start registry: %w", err)
	}
	if err := p.start("registry", self, "-dir", p.dir, "-name", p.name, "registry"); err != nil {
		return "", err
	}
	address, ended := "", false
	err = waitUntil(ctx, registryLimit, func() bool {
		_, runs := p.running("registry")
		address, ended = p.address(), !runs
		return address != "" || ended
	})
	if err == nil && ended {
		err = errors.New("it ended")
	}
	if err != nil {
		return "", fmt.Errorf("start registry: %w\n%s", err, p.tail("registry"))
	}
	return address, nil
}
