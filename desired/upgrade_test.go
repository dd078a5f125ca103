package desired

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFollow(t *testing.T) {
	const image = "release: {image: ghcr.io/acme/app, "
	window := mustWindow(t, "Mon-Fri 02:00-05:00 Europe/Prague")
	tests := map[string]struct {
		in   string
		want *Follow
		note string
	}{
		"none":    {"", nil, ""},
		"channel": {image + "channel: dev}", &Follow{Ref: "ghcr.io/acme/app:dev", Channel: "dev", Every: 5 * time.Minute}, ""},
		"gates": {image + "channel: dev}\nupgrade: {every: 10s, window: Mon-Fri 02:00-05:00 Europe/Prague, minAge: 1h, busy: {url: 'http://app:80/a?b=c', field: d}}",
			&Follow{Ref: "ghcr.io/acme/app:dev", Channel: "dev", Every: 10 * time.Second, Window: &window, MinAge: time.Hour,
				Busy: &BusyCheck{Service: "app", Host: "app:80", Port: 80, Path: "/a?b=c", Field: "d", MaxDefer: 2 * time.Hour}}, ""},
		"version": {image + "channel: dev, version: 2026.04.3}\nupgrade: {every: 1m, busy: {url: 'http://app/', field: d}}",
			&Follow{Ref: "ghcr.io/acme/app:stable-2026.04.3", Version: "2026.04.3"},
			"upgrade.every, upgrade.busy have no effect: release.version is pinned (they count again when the pin is removed)"},
		"digest": {image + "version: 2026.04.3, digest: 'sha256:" + hex64 + "'}\nupgrade: {minAge: 1m}",
			&Follow{Ref: "ghcr.io/acme/app@sha256:" + hex64},
			"upgrade.minAge has no effect: release.digest is pinned (it counts again when the pin is removed)"},
		"no release": {"upgrade: {window: '02:00-03:00'}", nil, "upgrade.window has no effect: no release.channel is followed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := loadText(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(s.Follow, tt.want) {
				t.Errorf("got %+v, want %+v", s.Follow, tt.want)
			}
			if tt.want != nil && s.Services["app"].Image != tt.want.Ref {
				t.Errorf("the image is %s", s.Services["app"].Image)
			}
			if (len(s.Notes) > 0) != (tt.note != "") || tt.note != "" && !strings.HasSuffix(s.Notes[0], tt.note) {
				t.Errorf("notes are %q", s.Notes)
			}
		})
	}
}

func TestBusyURL(t *testing.T) {
	tests := map[string]struct {
		url, want string
		check     BusyCheck
	}{
		"service, no port": {"http://app", "", BusyCheck{Service: "app", Host: "app", Port: 80, Path: "/"}},
		"other host":       {"https://status.acme.com/x", "", BusyCheck{Host: "status.acme.com", TLS: true, Port: 443, Path: "/x"}},
		"address":          {"http://[::1]:81/x", "", BusyCheck{Host: "[::1]:81", Port: 81, Path: "/x"}},
		"slip":             {"http://ap:81/x", `"ap" is no service of the instance; a host of this name is asked (did you mean app?)`, BusyCheck{Host: "ap:81", Port: 81, Path: "/x"}},
		"port too high":    {"http://app:99999/", "upgrade.busy.url: names no host and port between 1 and 65535", BusyCheck{}},
		"no port":          {"http://app:/", "upgrade.busy.url: names no host and port", BusyCheck{}},
		"no host":          {"http://:80/", "upgrade.busy.url: names no host and port", BusyCheck{}},
		"https to service": {"https://app:8000/", "upgrade.busy.url: asks a service of the instance over https", BusyCheck{}},
		"secret":           {"http://app/${secret:X}", "upgrade.busy.url: this host has no value for the secret X", BusyCheck{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := loadText(channel + "upgrade: {busy: {url: '" + tt.url + "', field: f, maxDefer: 1m}}")
			if tt.check == (BusyCheck{}) {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v", err)
				}
				return
			}
			tt.check.Field, tt.check.MaxDefer = "f", time.Minute
			if err != nil || *s.Follow.Busy != tt.check || !strings.Contains(strings.Join(s.Notes, ""), tt.want) || tt.want == "" && len(s.Notes) > 0 {
				t.Errorf("got %+v, %v, %q", s.Follow, err, s.Notes)
			}
		})
	}
}

// A lock is part of what a spec asks for, and not of what a container is made
// from: naming one makes no container anew.
func TestLocks(t *testing.T) {
	bare, err := loadText("")
	if err != nil {
		t.Fatal(err)
	}
	s, err := loadText("upgrade: {locks: ['app:/data/a.db', 'app:/data/b/c.db']}")
	if err != nil || !slices.Equal(s.Services["app"].Locks, []string{"/data/a.db", "/data/b/c.db"}) {
		t.Fatalf("got %+v, %v", s.Services["app"], err)
	}
	if s.Services["app"].Hash() != bare.Services["app"].Hash() || s.Hash() == bare.Hash() {
		t.Error("the hashes are not as they should be")
	}
	for _, lock := range []string{"app:/data/tmp/x", "app:/datax/x", "db:/data/x", "app:/x"} {
		if _, err := loadText("upgrade: {locks: ['" + lock + "']}"); err == nil || !strings.Contains(err.Error(), "is in no volume or bind of") {
			t.Errorf("%s: %v", lock, err)
		}
	}
}

func TestKeeps(t *testing.T) {
	p := Project{Services: map[string]Service{
		"own":   {Mounts: []Mount{{Type: MountBind, Target: "/"}, {Type: MountTmpfs, Target: "/tmp"}, {Type: MountWork, Target: "/tmp/w/"}}},
		"from":  {VolumesFrom: []string{"service:own:ro"}},
		"alien": {VolumesFrom: []string{"container:x"}},
		"ring":  {VolumesFrom: []string{"service:ring2"}},
		"ring2": {VolumesFrom: []string{"service:ring"}},
	}}
	tests := []struct {
		service, file string
		want          bool
	}{
		{"own", "/a", true}, {"own", "/tmp/a", false}, {"own", "/tmp/w/a", true}, {"own", "/tmpx", true},
		{"from", "/a", true}, {"from", "/tmp/a", false}, {"alien", "/a", true}, {"ring", "/a", false},
	}
	for _, tt := range tests {
		if got := keeps(p, tt.service, tt.file, map[string]bool{}); got != tt.want {
			t.Errorf("%s %s: %v", tt.service, tt.file, got)
		}
	}
}
