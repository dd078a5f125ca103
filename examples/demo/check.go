package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// check is a claim that is proved by asking the app or the engine, never the daemon.
type check struct {
	says string
	do   func(ctx context.Context, d *demo) error
}

// answers checks what the app answers through the front.
func answers(path, want string) check {
	return check{fmt.Sprintf("GET %s answers %s", path, want), func(ctx context.Context, d *demo) error {
		got, err := d.get(ctx, path)
		if err == nil && !strings.Contains(got, want) {
			err = fmt.Errorf("it answers %q", got)
		}
		return err
	}}
}

// get retries for a moment: the front opens its port with the first route.
func (d *demo) get(ctx context.Context, path string) (body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var last error
	err = waitUntil(ctx, 20*time.Second, func() bool {
		body, last = getOnce(ctx, d.browser(), d.url(path))
		return last == nil
	})
	if errors.Is(err, errTimeout) {
		err = last
	}
	return body, err
}

func getOnce(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }() // it was read, or the error says why not
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	return strings.TrimSpace(string(body)), err
}

// inState checks a service's only container by docker ps.
func inState(service, says, state, status string) check {
	return check{says, func(ctx context.Context, d *demo) error {
		list, err := d.containers(ctx)
		if err != nil {
			return err
		}
		for _, c := range list {
			if c.name == d.container(service) {
				if c.state != state || !strings.Contains(c.status, status) {
					return fmt.Errorf("docker ps says: %s", c.status)
				}
				return nil
			}
		}
		return errors.New("there is no such container")
	}}
}

func runs(service string) check {
	return inState(service, service+" runs and is healthy", "running", "(healthy)")
}

func ended(service string) check {
	return inState(service, service+" ended with 0", "exited", "Exited (0)")
}

func untouched(service string) check {
	return check{service + " is the container that it was", func(ctx context.Context, d *demo) error {
		now, err := d.ids(ctx)
		if err == nil && (now[service] == "" || now[service] != d.before[service]) {
			err = fmt.Errorf("it was %.12s and is %.12s", d.before[service], now[service])
		}
		return err
	}}
}

func replaced(service string) check {
	return check{service + " is a new container", func(ctx context.Context, d *demo) error {
		now, err := d.ids(ctx)
		if err == nil && (now[service] == "" || now[service] == d.before[service]) {
			err = fmt.Errorf("it was %.12s and is %.12s", d.before[service], now[service])
		}
		return err
	}}
}

// nothingAside checks that no container of an unfinished replacement is left.
var nothingAside = check{"there are three containers and nothing beside them", func(ctx context.Context, d *demo) error {
	var list []container
	var err error
	wait := waitUntil(ctx, 20*time.Second, func() bool { // what was replaced is removed once the new one stands
		list, err = d.containers(ctx)
		return err != nil || len(list) == 3
	})
	if err == nil && wait != nil {
		err = fmt.Errorf("%w; there are %d: %v", wait, len(list), list)
	}
	return err
}}

const customer = "data of a customer"

// storesData writes into the data volume as the app would; keepsData looks whether it is still there.
var storesData = check{"the data volume takes a customer's data", func(ctx context.Context, d *demo) error {
	_, err := docker(ctx, "exec", d.container("app"), "/app", "write", "/srv/data/customer", customer)
	return err
}}

var keepsData = check{"the customer's data is still there", answers("/file?path=data/customer", customer).do}
