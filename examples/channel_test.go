package examples_test

import (
	"os"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
)

// The channel example, with the secret that its README asks for.
func TestChannel(t *testing.T) {
	local := fstest.MapFS{".env": {Data: []byte("SMOKE_PASSWORD='hush-hush'\n")}}
	s, err := desired.Load(desired.Input{Tree: os.DirFS("."), Dir: "channel", Local: local, Compose: compose.Load})
	if err != nil {
		t.Fatal(err)
	}
	f := s.Follow
	if f == nil || f.Ref != "127.0.0.1:5055/app:stable" || f.Channel != "stable" || f.Every != time.Minute || f.MinAge != 30*time.Minute {
		t.Errorf("follows %+v", f)
	}
	if app := s.Services["app"]; app.Image != f.Ref || !slices.Equal(app.Locks, []string{"/data/app.lock"}) {
		t.Errorf("app is %+v", app)
	}
	want := desired.BusyCheck{Service: "app", Host: "app:8000", Port: 8000, Path: "/api/sync/status", Field: "locked", MaxDefer: time.Hour}
	if f.Busy == nil || *f.Busy != want || f.Window == nil || f.Window.Zone.String() != "Europe/Prague" {
		t.Errorf("busy %+v, window %v", f.Busy, f.Window)
	}
	if s.Check == nil || *s.Check != (desired.HTTPCheck{Service: "app", Path: "/readyz", Port: 8000}) || len(s.Smoke) != 4 {
		t.Errorf("check %+v, smoke %+v", s.Check, s.Smoke)
	}
	body, _ := s.Smoke[1].Body.(map[string]any)
	if body["password"] != "hush-hush" || !slices.Contains(s.Sensitive, "hush-hush") {
		t.Errorf("body %v", body)
	}
	route := desired.FrontRoute{Host: "data.example.com", Service: "app", Port: 8000, Certificate: "data", HSTS: 31536000,
		RedirectHTTP: true, Drain: 20 * time.Second, Hold: time.Minute}
	if len(s.Front) != 1 || s.Front[0] != route {
		t.Errorf("front %+v", s.Front)
	}
	if c := s.Certificates["data"]; c.Fullchain != "file:///etc/ssl/data/fullchain.pem" || c.Privkey != "file:///etc/ssl/data/privkey.pem" || c.Fallback != "self-signed" {
		t.Errorf("certificate %+v", c)
	}
}

// Without the host's file the secret is missed, and named.
func TestChannelNeedsItsSecret(t *testing.T) {
	_, err := load(t, os.DirFS("."), "channel", "")
	const want = "channel/instance.yaml:20: smoke[1].body.password: this host has no value for the secret SMOKE_PASSWORD" +
		" (fairlead secret set channel SMOKE_PASSWORD; or write SMOKE_PASSWORD=VALUE into instances/channel/local/.env of the host's data directory)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}
