package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
)

// login is the first administrator of the demo's daemon.
type login struct {
	address         string // of the pages, HOST:PORT
	email, password string
}

func (l login) url() string { return "http://" + l.address }

func (l login) String() string {
	return fmt.Sprintf("%s/  (sign in as %s with %s)", l.url(), l.email, l.password)
}

// signInUp makes the first administrator, as a person or a program would on a fresh host.
func (d *demo) signInUp(ctx context.Context) error {
	d.login.email, d.login.password = "demo@example.com", strings.ToLower(rand.Text()[:20])
	status, body, err := d.post(ctx, "/auth/bootstrap", map[string]string{"email": d.login.email, "name": "Demo", "password": d.login.password})
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", status, body)
	}
	if err != nil {
		return fmt.Errorf("make administrator: %w", err)
	}
	return nil
}

// post sends JSON to the daemon's pages. The address opens a moment after the daemon answers on its socket.
func (d *demo) post(ctx context.Context, path string, v any) (status int, answer []byte, err error) {
	content, err := json.Marshal(v)
	if err != nil {
		return 0, nil, err
	}
	werr := waitUntil(ctx, daemonLimit, func() bool {
		status, answer, err = d.postOnce(ctx, path, content)
		return err == nil
	})
	return status, answer, errors.Join(werr, err)
}

func (d *demo) postOnce(ctx context.Context, path string, content []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.login.url()+path, bytes.NewReader(content))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read, or the error says why not
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, body, err
}

// showPages proves that the login opens the pages, and says where they are.
func (d *demo) showPages(ctx context.Context) error {
	page, err := d.signIn(ctx)
	if err == nil && !strings.Contains(page, d.name) {
		err = fmt.Errorf("the dashboard does not show %s", d.name)
	}
	if err != nil {
		return fmt.Errorf("open dashboard: %w", err)
	}
	d.out.line("\nThe dashboard: %s", d.login)
	return nil
}

// signIn fetches the dashboard as a browser without scripts would.
func (d *demo) signIn(ctx context.Context) (page string, err error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Jar: jar, Timeout: 10 * time.Second}
	form := url.Values{"email": {d.login.email}, "password": {d.login.password}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.login.url()+"/login", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", d.login.url())
	resp, err := client.Do(req) // which follows to the dashboard
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }() // it was read, or the error says why not
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return string(body), err
}
