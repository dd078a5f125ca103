package main

import (
	"bufio"
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
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	openPages   = 10
	askEvery    = 200 * time.Millisecond
	askWith     = "SELECT count(*) AS n, sum(i) AS s FROM range(1000000) t(i)"
	benchEmail  = "bench@example.com"
	healthFloor = 5000 // requests a second
)

// audience is what people do to a daemon while it works: dashboards that are open, and queries.
type audience struct {
	u        *upgrade
	address  string // of the API and the pages
	password string
	token    string
	browsers []*http.Client // signed in, for each dashboard

	events, pages, queries, failed atomic.Int64
	problem                        atomic.Pointer[error] // one of them
}

// measureServer asks for the health, and has images changed with and without people who look on.
func measureServer(ctx context.Context, b *bench) (err error) {
	a := &audience{u: &upgrade{b: b, n: 1, project: b.name("server"), got: map[string]*series{}, parts: map[string]*series{}}, password: rand.Text()}
	if err := a.setUp(ctx); err != nil {
		return err
	}
	if err := a.health(ctx); err != nil {
		return err
	}
	if err := a.changes(ctx); err != nil {
		return err
	}
	if err := a.u.daemon.stop(ctx); err != nil {
		return err
	}
	return b.clear(ctx, a.u.project)
}

func (a *audience) setUp(ctx context.Context) (err error) {
	b, u := a.u.b, a.u
	if a.address, err = freeAddress(); err != nil {
		return err
	}
	if u.ours, err = makeRepo(ctx, filepath.Join(b.dir, u.project)); err != nil {
		return err
	}
	first, err := u.ours.commit(ctx, u.file(0))
	if err != nil {
		return err
	}
	if u.daemon, err = b.configure(u.project, u.ours.dir, b.host, fmt.Sprintf("server: {listen: %q}\n", a.address)); err != nil {
		return err
	}
	b.daemons = append(b.daemons, u.daemon)
	if err := u.daemon.start(ctx); err != nil {
		return err
	}
	if err := u.daemon.converged(ctx, u.project, first); err != nil {
		return err
	}
	var said struct {
		Token string `json:"access_token"`
	}
	err = a.call(ctx, "/auth/bootstrap", map[string]string{"email": benchEmail, "password": a.password}, &said)
	a.token = said.Token
	for range openPages {
		if err == nil {
			err = a.signIn(ctx)
		}
	}
	return err
}

func (a *audience) url(path string) string { return "http://" + a.address + path }

// call posts JSON and reads what comes back.
func (a *audience) call(ctx context.Context, path string, body, into any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url(path), bytes.NewReader(content))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("POST %s: %s: %s", path, resp.Status, said)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// health asks for it as fast as it is answered; the client takes a part of the same processors.
func (a *audience) health(ctx context.Context) error {
	var rates, late series
	for range a.u.b.rounds(5, 1) {
		v, err := a.askHealth(ctx, 2*time.Second)
		if err != nil {
			return err
		}
		rates, late = append(rates, float64(v.Requests)/v.Seconds), append(late, v.P99)
	}
	a.u.b.figure(figure{name: "server: GET /api/health", ours: rates, unit: "requests/s", limit: healthFloor, least: true})
	a.u.b.figure(figure{name: "server: GET /api/health, p99", ours: late, unit: "ms"})
	return nil
}

func (a *audience) askHealth(ctx context.Context, long time.Duration) (volley, error) {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	var counting atomic.Bool
	counting.Store(true)
	list := make([]*shooter, 16)
	var all sync.WaitGroup
	began := time.Now()
	for i := range list {
		tr := &http.Transport{}
		list[i] = &shooter{close: tr.CloseIdleConnections, ask: func() error { return getOnce(ctx, &http.Client{Transport: tr}, a.url("/api/health")) }}
		all.Go(func() { list[i].run(ctx, &counting) })
	}
	<-ctx.Done()
	counting.Store(false)
	took := time.Since(began)
	all.Wait()
	v := sum(list, took)
	if v.Failed > len(list) { // those that the end of the time cut off
		return v, fmt.Errorf("ask for health: %d requests failed: %s", v.Failed, v.Why)
	}
	return v, nil
}

func getOnce(ctx context.Context, client *http.Client, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// changes measures a change of an image, by turns while nobody looks on and while people do.
func (a *audience) changes(ctx context.Context) error {
	var quiet, watched series
	for round := 1; round <= 2*a.u.b.rounds(9, 2); round++ {
		leave := func() error { return nil }
		if round%2 == 0 {
			leave = a.come(ctx)
			if err := pause(ctx, time.Second); err != nil {
				return err
			}
		}
		took, err := a.u.fairlead(ctx, round)
		if err := errors.Join(err, leave()); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if round%2 == 0 {
			watched.add(took)
		} else {
			quiet.add(took)
		}
	}
	if a.queries.Load() == 0 || a.events.Load() == 0 || a.pages.Load() == 0 {
		return fmt.Errorf("nobody looked on: %d queries, %d events, %d pages", a.queries.Load(), a.events.Load(), a.pages.Load())
	}
	a.u.b.figure(figure{name: fmt.Sprintf("server: change 1 of 1 with %d dashboards open and %g queries/s", openPages, float64(time.Second)/float64(askEvery)),
		ours: watched, against: "the same with nobody there", theirs: quiet, unit: "ms", limit: 1.15})
	a.u.b.note("While images were changed, %d dashboards were told of %d events, fetched %d pages, and %d queries were answered; %d failed.",
		openPages, a.events.Load(), a.pages.Load(), a.queries.Load(), a.failed.Load())
	return nil
}

// come has people look on until leave is called, which tells what went wrong for them.
func (a *audience) come(ctx context.Context) (leave func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, browser := range a.browsers {
		all.Go(func() { a.note(ctx, a.watch(ctx, browser)) })
	}
	all.Go(func() { a.query(ctx) })
	return func() error {
		cancel()
		all.Wait()
		if p := a.problem.Load(); p != nil {
			return *p
		}
		return nil
	}
}

func (a *audience) note(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		a.failed.Add(1)
		a.problem.Store(&err)
	}
}

// signIn opens one more browser.
func (a *audience) signIn(ctx context.Context) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Jar: jar}
	form := url.Values{"email": {benchEmail}, "password": {a.password}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url("/login"), strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", a.url(""))
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, resp.Body) // the page that follows
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		return errors.Join(err, fmt.Errorf("sign in: %s", resp.Status))
	}
	a.browsers = append(a.browsers, client)
	return nil
}

// watch has the dashboard open: it is fetched again when there is something new.
func (a *audience) watch(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url("/live?topic=*"), nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), "data:") {
			continue
		}
		a.events.Add(1)
		if err := getOnce(ctx, client, a.url("/")); err != nil {
			return fmt.Errorf("fetch dashboard: %w", err)
		}
		a.pages.Add(1)
	}
	return nil
}

func (a *audience) query(ctx context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var said struct {
			Rows [][]any `json:"rows"`
		}
		err := a.call(ctx, "/api/query?instance="+url.QueryEscape(a.u.project), map[string]string{"sql": askWith}, &said)
		if err == nil && len(said.Rows) != 1 {
			err = fmt.Errorf("query: %d rows", len(said.Rows))
		}
		a.note(ctx, err)
		if err == nil {
			a.queries.Add(1)
		}
	}
}
