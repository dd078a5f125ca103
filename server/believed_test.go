package server

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"testing"
	"time"
)

// follow opens a stream and waits for its first line.
func (v *village) follow(bearer string) *http.Response {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	v.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url+"/api/events?follow=true", nil)
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// TestStreamsEndWithTheSession holds that who is signed out, disabled or without
// a token hears nothing more on a stream that is open.
func TestStreamsEndWithTheSession(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	v.api.doubts = 10 * time.Millisecond
	admin := v.settle()
	id, session := v.people(admin, "grace@example.com", "viewer")
	made := v.want(201, "flp_", "POST", "/api/tokens", session, object{"name": "a"}).json(t)
	token := made["token"].(string)
	for name, end := range map[string]struct {
		bearer string
		act    func()
	}{
		"a token that is ended": {token, func() { v.want(200, "", "DELETE", "/api/tokens/"+made["id"].(string), admin, nil) }},
		"a sign-out":            {session, func() { v.want(200, "", "DELETE", "/api/users/"+id+"/sessions", admin, nil) }},
	} {
		lines := bufio.NewReader(v.follow(end.bearer).Body)
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		end.act()
		if _, err := io.Copy(io.Discard, lines); err != nil {
			t.Errorf("%s: the stream does not end: %v", name, err)
		}
	}
}

// TestStreamsAreCounted holds that nobody takes all connections with streams.
func TestStreamsAreCounted(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	admin := v.settle()
	for range openStreams {
		if _, err := bufio.NewReader(v.follow(admin).Body).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	v.want(429, "under way", "GET", "/api/events?follow=true", admin, nil)
	v.want(200, "", "GET", "/api/me", admin, nil)
}
