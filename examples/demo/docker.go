package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// docker runs the docker program, which is what people look with as well.
func docker(ctx context.Context, args ...string) (string, error) {
	out, err := output(ctx, "", nil, append([]string{"docker"}, args...)...)
	return strings.TrimSpace(out), err
}

// engineHost is where the engine listens, for the daemon's configuration.
func engineHost() string {
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		return host
	}
	return "unix:///var/run/docker.sock"
}

// container is what docker ps says about one.
type container struct{ id, name, service, state, status string }

// owned is the filter for what the demo's daemon made.
func (p place) owned() string { return "label=fairlead.owner=" + p.data() }

func (p place) containers(ctx context.Context) (list []container, err error) {
	const format = `{{.ID}}|{{.Names}}|{{.Label "fairlead.service"}}|{{.State}}|{{.Status}}`
	out, err := docker(ctx, "ps", "-a", "--no-trunc", "--filter", p.owned(), "--format", format)
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(out, "\n") {
		if f := strings.Split(line, "|"); len(f) == 5 {
			list = append(list, container{f[0], f[1], f[2], f[3], f[4]})
		}
	}
	return list, nil
}

// ids are the containers that serve, by service; what is kept aside during a replacement has another name.
func (p place) ids(ctx context.Context) (map[string]string, error) {
	list, err := p.containers(ctx)
	ids := map[string]string{}
	for _, c := range list {
		if c.name == p.container(c.service) {
			ids[c.service] = c.id
		}
	}
	return ids, err
}

// container is the name of a service's only container.
func (p place) container(service string) string { return p.name + "-" + service + "-1" }

// removeObjects removes what the demo's daemon made on the engine, and the images that were pulled from its registry.
func (p place) removeObjects(ctx context.Context) error {
	kinds := []struct{ list, remove []string }{
		{[]string{"ps", "-aq", "--filter", p.owned()}, []string{"rm", "-f", "-v"}},
		{[]string{"network", "ls", "-q", "--filter", p.owned()}, []string{"network", "rm"}},
		{[]string{"volume", "ls", "-q", "--filter", p.owned()}, []string{"volume", "rm"}},
	}
	var errs []error
	for _, k := range kinds {
		errs = append(errs, removeAll(ctx, k.list, k.remove))
	}
	return errors.Join(append(errs, p.removeImages(ctx))...)
}

func removeAll(ctx context.Context, list, remove []string) error {
	out, err := docker(ctx, list...)
	if err != nil || out == "" {
		return err
	}
	_, err = docker(ctx, append(remove, strings.Fields(out)...)...)
	return err
}

func (p place) removeImages(ctx context.Context) error {
	address, err := os.ReadFile(p.in(registryAddress))
	if errors.Is(err, os.ErrNotExist) {
		return nil // the registry never ran, so nothing was pulled
	}
	if err != nil {
		return fmt.Errorf("remove images: %w", err)
	}
	pattern := fmt.Sprintf("reference=%s/%s/*", strings.TrimSpace(string(address)), p.name)
	// By name, never by ID: another demo may use the same image under its own
	// name. The digests are what is left of an image whose tag moved on.
	var errs []error
	for _, name := range []string{"{{.Repository}}:{{.Tag}}", "{{.Repository}}@{{.Digest}}"} {
		errs = append(errs, removeNamed(ctx, []string{"image", "ls", "--digests", "--filter", pattern, "--format", name}))
	}
	return errors.Join(errs...)
}

func removeNamed(ctx context.Context, list []string) error {
	out, err := docker(ctx, list...)
	if err != nil {
		return err
	}
	var names []string
	for _, name := range strings.Fields(out) {
		if !strings.Contains(name, "<none>") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	_, err = docker(ctx, append([]string{"image", "rm"}, names...)...)
	return err
}
