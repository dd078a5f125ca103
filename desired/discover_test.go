package desired

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestDiscover(t *testing.T) {
	const named = "apiVersion: fairlead/v1\nname: "
	fleet := tree(map[string]string{
		"README.md": "", "shared/base.yaml": "", ".hidden/compose.yaml": "",
		"instances/acme/instance.yaml": named + "acme", "instances/globex/compose.yml": "services: {}",
		"instances/empty/notes.txt": "", "single/docker-compose.yaml": "", "deep/a/b/compose.yaml": "",
	})
	root := tree(map[string]string{"compose.yaml": "", "instances/acme/compose.yaml": ""})
	same := tree(map[string]string{"a/instance.yaml": named + "acme", "b/instance.yaml": named + "acme", "c/instance.yaml": "{"})
	tests := map[string]struct {
		tree    fstest.MapFS
		globs   []string
		dirs    string
		problem string
	}{
		"default":       {fleet, nil, "instances/acme instances/globex single", ""},
		"root":          {root, nil, ".", ""},
		"none":          {tree(map[string]string{"x": ""}), nil, "", ".: the repository holds no instance"},
		"empty":         {fstest.MapFS{}, nil, "", ".: the repository holds no instance"},
		"glob":          {fleet, []string{"instances/*"}, "instances/acme instances/globex", ""},
		"path":          {fleet, []string{"instances/acme/"}, "instances/acme", ""},
		"dot path":      {fleet, []string{"./instances/acme", "instances/ac*"}, "instances/acme", ""},
		"both":          {root, []string{".", "instances/*"}, ". instances/acme", ""},
		"deep":          {fleet, []string{"deep/*/[b]"}, "deep/a/b", ""},
		"hidden":        {fleet, []string{".hid*"}, ".hidden", ""},
		"no match":      {fleet, []string{"instances/acme", "nope/*"}, "instances/acme", "nope/*: matches no instance"},
		"not instance":  {fleet, []string{"instances/empty"}, "", "instances/empty: matches no instance"},
		"outside":       {fleet, []string{"../x"}, "", "../x: is not a path or glob in the repository"},
		"absolute":      {fleet, []string{"/instances"}, "", "/instances: is not a path or glob"},
		"brackets":      {fleet, []string{"["}, "", "[: is not a path or glob"},
		"double star":   {fleet, []string{"**/acme"}, "", "**/acme: is not a path or glob"},
		"same name":     {same, nil, "a b c", "b/instance.yaml: the name acme is used by a already"},
		"root and glob": {root, []string{"./"}, ".", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dirs, err := Discover(tt.tree, tt.globs)
			if got := strings.Join(dirs, " "); got != tt.dirs {
				t.Errorf("got %q, want %q", got, tt.dirs)
			}
			var problems Problems
			if tt.problem == "" && err != nil || tt.problem != "" && (!errors.As(err, &problems) || !strings.HasPrefix(err.Error(), tt.problem)) {
				t.Errorf("got %v, want %q", err, tt.problem)
			}
		})
	}
}

func TestNameOf(t *testing.T) {
	files := tree(map[string]string{
		"good/instance.yaml":   "apiVersion: fairlead/v1\nname: acme\nnope: 1",
		"bad/instance.yaml":    "apiVersion: fairlead/v1\nname: Acme",
		"broken/instance.yaml": "{",
	})
	if name, err := NameOf(files, "good", ""); name != "acme" || err != nil {
		t.Errorf("got %q, %v", name, err)
	}
	for _, dir := range []string{"bad", "broken"} {
		name, err := NameOf(files, dir, "")
		var problems Problems
		if name != "" || !errors.As(err, &problems) || problems[0].Line == 0 {
			t.Errorf("%s: got %q, %v", dir, name, err)
		}
	}
}

func TestCleanName(t *testing.T) {
	for in, want := range map[string]string{
		"acme": "acme", "My App": "my-app", "a_b.c": "a-b-c", "-x-": "x", "7zip": "zip", "žluťoučký": "luouk",
		"": "", "42": "", strings.Repeat("ab", 30): strings.Repeat("ab", 20)[:39], strings.Repeat("a", 38) + "--": strings.Repeat("a", 38),
	} {
		if got := cleanName(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		} else if got != "" && syntaxes["name"].text(got) != "" {
			t.Errorf("%q: %q is not a name", in, got)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	keys := []string{"release", "retain", "compose", "name"}
	for in, want := range map[string]string{
		"relase": "did you mean release?", "COMPOSE": "did you mean compose?", "nmae": "did you mean name?",
		"volumes": "allowed: release, retain, compose, name", strings.Repeat("x", 1000): "allowed: release, retain, compose, name",
	} {
		if got := didYouMean(in, keys); got != want {
			t.Errorf("%.20q: got %q, want %q", in, got, want)
		}
	}
	if didYouMean("x", nil) != "" {
		t.Error("a hint out of nothing")
	}
}

func TestImageRef(t *testing.T) {
	tests := []struct {
		in   string
		want ImageRef
		full string
	}{
		{"redis", ImageRef{"redis", "", ""}, "docker.io/library/redis"},
		{"redis:7", ImageRef{"redis", "7", ""}, "docker.io/library/redis"},
		{"acme/app:1@sha256:" + hex64, ImageRef{"acme/app", "1", "sha256:" + hex64}, "docker.io/acme/app"},
		{"localhost/app", ImageRef{"localhost/app", "", ""}, "localhost/app"},
		{"127.0.0.1:5000/a/b:x", ImageRef{"127.0.0.1:5000/a/b", "x", ""}, "127.0.0.1:5000/a/b"},
		{"host:5000/app", ImageRef{"host:5000/app", "", ""}, "host:5000/app"},
		{"[::1]:5000/app", ImageRef{"[::1]:5000/app", "", ""}, "[::1]:5000/app"},
		{"index.docker.io/redis", ImageRef{"index.docker.io/redis", "", ""}, "docker.io/library/redis"},
		{"ghcr.io/acme/app", ImageRef{"ghcr.io/acme/app", "", ""}, "ghcr.io/acme/app"},
		{"Local/app", ImageRef{"Local/app", "", ""}, "Local/app"},
	}
	for _, tt := range tests {
		got, err := ParseImageRef(tt.in)
		if err != nil || got != tt.want || got.String() != tt.in {
			t.Errorf("%s: got %+v, %v", tt.in, got, err)
		}
		if full := CanonicalRepository(got.Repository); full != tt.full {
			t.Errorf("%s: got %s, want %s", tt.in, full, tt.full)
		}
	}
	bad := []string{"", "Redis", "a//b", "a:", "a@sha256:12", "a b", "-a", "a/", "http://a/b", strings.Repeat("a", 256)}
	if i := slices.IndexFunc(bad, func(s string) bool { _, err := ParseImageRef(s); return err == nil }); i >= 0 {
		t.Errorf("%q is taken for a reference", bad[i])
	}
}
