package main

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// TestDirsOfConnectors permits what is below a listed directory, also when that
// is a link of the operator's, and nothing else.
func TestDirsOfConnectors(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(real, 0o700), os.Symlink(real, link)); err != nil {
		t.Fatal(err)
	}
	d := dataSettings{Dirs: []string{link, "/srv/none"}}
	for path, good := range map[string]bool{link: true, link + "/a": true, real: true, real + "/a/b": true, "/srv/none/x": true,
		dir: false, real + "x": false, link + "/../x": false, "/": false, "/etc": false, "/srv/nonesuch": false, "": false} {
		if err := d.allowDir(path); (err == nil) != good {
			t.Errorf("%q: %v", path, err)
		}
	}
	if (dataSettings{}).allowDir(real) == nil {
		t.Error("without a list a directory is permitted")
	}
}

// TestReachOfConnectors is the rule that references are held to: this machine
// only when it is listed, metadata never.
func TestReachOfConnectors(t *testing.T) {
	for _, test := range []struct {
		listed   []string
		host, at string
		good     bool
	}{
		{nil, "db.acme.com", "192.0.2.1", true}, {nil, "db.acme.com", "10.0.0.1", true}, {nil, "db.acme.com", "127.0.0.1", false}, {nil, "localhost", "::1", false},
		{nil, "db.acme.com", "169.254.169.254", false}, {nil, "db.acme.com", "fd00:ec2::254", false}, {nil, "db.acme.com", "::ffff:127.0.0.1", false},
		{[]string{"*.acme.com"}, "db.acme.com", "192.0.2.1", true}, {[]string{"*.acme.com"}, "db.acme.com", "127.0.0.1", false},
		{[]string{"127.0.0.1:8443", "[::1]:1"}, "127.0.0.1", "127.0.0.1", true}, {[]string{"127.0.0.1:8443", "[::1]:1"}, "::1", "::1", true},
		{[]string{"localhost"}, "localhost", "127.0.0.1", true}, {[]string{"localhost"}, "db.acme.com", "192.0.2.1", false},
		{[]string{"db.acme.com:5432"}, "db.acme.com", "192.0.2.1", true}, {[]string{"db.acme.com"}, "db.acme.com", "169.254.169.254", false},
	} {
		reach, err := (fetchSettings{AllowedHosts: test.listed}).reach()
		if err != nil {
			t.Fatal(err)
		}
		if err := reach.Permits(test.host, netip.MustParseAddr(test.at)); (err == nil) != test.good {
			t.Errorf("%q permit %s at %s: %v", test.listed, test.host, test.at, err)
		}
	}
}
