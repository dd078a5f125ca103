package desired

import (
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"
)

// The images that are named outside of compose files are held to the policies
// as well: the release's, those of connectors, and those that are the default.
func TestPolicyBeyondCompose(t *testing.T) {
	no := false
	files := map[string]string{"a/compose.yaml": twoServices, "a/connectors/sap.yaml": "image: evil.com/sap:1\n", "a/connectors/py/connector.yaml": "",
		"a/connectors/py/extractor.py": "", "a/connectors/ours/connector.yaml": "image: ghcr.io/acme/x:1\n", "a/connectors/ours/extractor.py": ""}
	for name, tt := range map[string]struct {
		instance string
		host     []Bounds
		want     []string
	}{
		"the instance's own": {"policy: {images: ['ghcr.io/acme/*']}\nrelease: {image: postgres, version: 2026.04.3}", nil,
			[]string{"a/connectors/py/connector.yaml: image: ", "a/connectors/sap.yaml:1: image: ", "a/instance.yaml:4: release.image: "}},
		"the host's": {"", []Bounds{{Of: "the policy of this host", Images: []string{"postgres", "python", "ghcr.io/acme/*", "caddy"}, Privileged: &no}},
			[]string{"a/connectors/sap.yaml:1: image: the image evil.com/sap: the policy of this host does not permit it"}},
		"both": {"policy: {images: ['evil.com/*']}", []Bounds{{Of: "the policy of this host", Images: []string{}}},
			[]string{"connectors/sap.yaml:1: image: the image evil.com/sap: the policy of this host does not permit it (no image may run)",
				"a/connectors/ours/connector.yaml:1: image: the image ghcr.io/acme/x: the policy in a/instance.yaml does not permit it (permitted are evil.com/*)"}},
	} {
		t.Run(name, func(t *testing.T) {
			all := map[string]string{"a/instance.yaml": "apiVersion: fairlead/v1\nname: a\n" + tt.instance + "\n"}
			for k, v := range files {
				all[k] = v
			}
			_, err := Load(Input{Tree: tree(all), Dir: "a", Compose: composeForTest, Bounds: tt.host})
			var problems Problems
			if !errors.As(err, &problems) || !problems.Forbidden() {
				t.Fatalf("got %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v\nwant %s", err, want)
				}
			}
		})
	}
}

// The daemon writes certificates where a repository says, as root: policies bound
// that as they bound mounts.
func TestPolicyOfDeliveries(t *testing.T) {
	no := false
	for dir, tt := range map[string]struct {
		host Bounds
		rule string
	}{
		"/srv/tls":      {Bounds{Of: "it", HostMounts: []string{"/srv"}, Privileged: &no}, ""},
		"/etc/cron.d":   {Bounds{Of: "it", HostMounts: []string{"/srv"}}, RuleHostMounts},
		"/boot/loader":  {Bounds{Of: "it", Privileged: &no}, RulePrivileged},
		"/etc/anything": {Bounds{Of: "it"}, ""},
	} {
		_, err := Load(Input{Tree: tree(map[string]string{"i/compose.yaml": twoServices,
			"i/instance.yaml": "apiVersion: fairlead/v1\nname: a\ncertificates:\n  web:\n    domains: [a.example.com]\n    fullchain: file:///c\n    privkey: file:///k\n    deliver: [{dir: " + dir + "}]\n"}),
			Dir: "i", Compose: composeForTest, Bounds: []Bounds{tt.host}})
		var problems Problems
		if errors.As(err, &problems); tt.rule == "" && len(problems) > 0 || tt.rule != "" && (len(problems) != 1 || problems[0].Rule != tt.rule || problems[0].Field != "certificates.web.deliver[0].dir") {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// What the instance and the host bound reaches the reader of compose files.
func TestPolicyReachesCompose(t *testing.T) {
	var got []Bounds
	real := func(s string) (string, error) { return s, nil }
	spec, err := Load(Input{Tree: tree(map[string]string{"i/instance.yaml": "apiVersion: fairlead/v1\nname: a\npolicy: {images: [], privileged: false, hostMounts: []}\n", "i/compose.yaml": twoServices}),
		Dir: "i", Bounds: []Bounds{{Of: "host"}}, Real: real, Compose: func(in ComposeInput) (Project, error) {
			if got = in.Bounds; in.Real == nil {
				t.Error("nobody can tell where a path leads")
			}
			return composeForTest(in)
		}})
	if err != nil || len(got) != 2 || got[0].Of != "host" {
		t.Fatal(got, err)
	}
	own := got[1]
	if own.Images == nil || own.HostMounts == nil || len(own.Images)+len(own.HostMounts) > 0 || !own.confined() || own.Of != "the policy in i/instance.yaml" {
		t.Errorf("an empty list is not no list: %+v", own)
	}
	if spec.Policy == nil || spec.Policy.Privileged == nil {
		t.Errorf("%+v", spec.Policy)
	}
}

func TestSignersOfAPolicy(t *testing.T) {
	load := func(instance string, files ...string) (Spec, error) {
		all := map[string]string{"x/i/instance.yaml": "apiVersion: fairlead/v1\nname: a\n" + instance + "\n", "x/i/compose.yaml": twoServices}
		for n := 0; n < len(files); n += 2 {
			all[files[n]] = files[n+1]
		}
		return Load(Input{Tree: tree(all), Dir: "x/i", Compose: composeForTest, Signers: signersForTest})
	}
	spec, err := load("policy: {requireSignedCommits: true, allowedSigners: ../../signers}", "signers", "jan")
	if want := (PolicySpec{Signed: true, SignersFile: "signers", Signers: "jan"}); err != nil || !reflect.DeepEqual(*spec.Policy, want) {
		t.Errorf("%+v, %v", spec.Policy, err)
	}
	for instance, want := range map[string]string{
		"policy: {requireSignedCommits: true}":          "x/i/instance.yaml:3: policy.requireSignedCommits: needs policy.allowedSigners",
		"policy: {allowedSigners: none}":                `x/i/instance.yaml:3: policy.allowedSigners: there is no file "none"`,
		"policy: {allowedSigners: ../../../etc/passwd}": "policy.allowedSigners: \"../../../etc/passwd\" is outside the repository",
		"policy: {allowedSigners: /etc/passwd}":         "is not a path in the repository",
		"policy: {allowedSigners: bad}":                 "x/i/bad:1: it lists nobody",
	} {
		if _, err := load(instance, "x/i/bad", "eva"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", instance, err, want)
		}
	}
	_, err = Load(Input{Tree: tree(map[string]string{"instance.yaml": "apiVersion: fairlead/v1\nname: a\npolicy: {allowedSigners: s}\n", "s": "jan", "compose.yaml": twoServices}), Dir: ".", Compose: composeForTest})
	if err == nil || !strings.Contains(err.Error(), "cannot be read here") {
		t.Errorf("got %v", err)
	}
	unreadable := errors.New("the disk is gone")
	_, err = Load(Input{Tree: failOn{tree(map[string]string{"instance.yaml": "apiVersion: fairlead/v1\nname: a\npolicy: {allowedSigners: s}\n", "compose.yaml": twoServices}), "s", unreadable}, Dir: ".", Compose: composeForTest, Signers: signersForTest})
	if !errors.Is(err, unreadable) {
		t.Errorf("unreadable is absent: %v", err)
	}
}

// failOn is a tree in which one file cannot be looked at.
type failOn struct {
	fs.FS
	name string
	err  error
}

func (f failOn) Stat(name string) (fs.FileInfo, error) {
	if name == f.name {
		return nil, f.err
	}
	return fs.Stat(f.FS, name)
}
