package compose

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fairlead/fairlead/desired"
)

func compose(volumes string) string {
	return "services:\n  a:\n    image: x\n    volumes: " + volumes + "\n"
}

func mustLoad(t testing.TB, in desired.ComposeInput) desired.Project {
	t.Helper()
	if in.Dir == "" {
		in.Dir = "inst"
	}
	if in.Name == "" {
		in.Name = "acme"
	}
	p, err := Load(in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mountOf(t testing.TB, p desired.Project, target string) desired.Mount {
	t.Helper()
	for _, m := range p.Services["a"].Mounts {
		if m.Target == target {
			return m
		}
	}
	t.Fatalf("nothing is mounted at %s: %+v", target, p.Services["a"].Mounts)
	return desired.Mount{}
}

func TestRelativeBinds(t *testing.T) {
	repo := files("inst/compose.yaml", compose(`["./conf:/conf:ro", "./one.txt:/one:ro", "./data:/data", "./seeded:/seeded", "../shared:/shared:ro", "../shared/out:/out", ".:/all", "./absent:/absent:ro"]`),
		"inst/conf/b.conf", "b", "inst/conf/a/deep.conf", "deep", "inst/one.txt", "one", "inst/seeded/x", "x", "shared/s", "s")
	repo["inst/conf/run.sh"] = &fstest.MapFile{Data: []byte("#!"), Mode: 0o775}
	repo["inst/conf/link"] = &fstest.MapFile{Data: []byte("a/deep.conf"), Mode: fs.ModeSymlink | 0o777}
	p := mustLoad(t, desired.ComposeInput{Tree: repo})

	conf := mountOf(t, p, "/conf")
	want := desired.FileTree{Entries: []desired.FileEntry{
		{Path: "a/deep.conf", Mode: 0o644, Content: []byte("deep")}, {Path: "b.conf", Mode: 0o644, Content: []byte("b")},
		{Path: "link", Mode: 0o777, Link: "a/deep.conf"}, {Path: "run.sh", Mode: 0o755, Content: []byte("#!")},
	}}
	if conf.Type != desired.MountTracked || !conf.ReadOnly || conf.Source != want.Hash() || !reflect.DeepEqual(p.Files[conf.Source], want) {
		t.Errorf("conf: %+v %+v", conf, p.Files[conf.Source])
	}
	one := p.Files[mountOf(t, p, "/one").Source]
	if !one.Single || len(one.Entries) != 1 || one.Entries[0].Path != "one.txt" || string(one.Entries[0].Content) != "one" {
		t.Errorf("one: %+v", one)
	}
	for target, want := range map[string]desired.Mount{
		"/data":   {Type: desired.MountWork, Source: "data", Target: "/data"},
		"/out":    {Type: desired.MountWork, Source: "_up/shared/out", Target: "/out"},
		"/absent": {Type: desired.MountWork, Source: "absent", Target: "/absent", ReadOnly: true},
	} {
		if got := mountOf(t, p, target); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", target, got, want)
		}
	}
	if m := mountOf(t, p, "/seeded"); m.Source != "seeded" || len(p.Files[m.Seed].Entries) != 1 {
		t.Errorf("seeded: %+v", m)
	}
	if m := mountOf(t, p, "/all"); m.Source != "." || p.Files[m.Seed].Entries == nil {
		t.Errorf("all: %+v", m)
	}
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "inst/absent is not in the repository") {
		t.Errorf("notes: %q", p.Notes)
	}
}

func TestContentProblems(t *testing.T) {
	link := func(to string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink | 0o777}
	}
	for name, c := range map[string]struct {
		path string
		file *fstest.MapFile
		want string
	}{
		"link out of the mount": {"inst/d/l", link("../other"), "leads out of the mounted directory"},
		"absolute link":         {"inst/d/l", link("/etc/passwd"), "leads out of the mounted directory"},
		"the mount is a link":   {"inst/d", link("../../etc"), "leads out of the repository"},
		"a loop":                {"inst/d", link("d"), "loop of symbolic links"},
		"LFS":                   {"inst/d/big", &fstest.MapFile{Data: []byte("version https://git-lfs.github.com/spec/v1\noid x\n")}, "Git LFS pointer"},
		"too large":             {"inst/d/big", &fstest.MapFile{Data: make([]byte, maxTrackedFile+1)}, "larger than 16 MiB"},
		"a submodule":           {"inst/d", &fstest.MapFile{Mode: fs.ModeIrregular}, "inst/d is a Git submodule"},
		"a submodule inside":    {"inst/d/lib", &fstest.MapFile{Mode: fs.ModeIrregular}, "inst/d/lib is a Git submodule"},
		"a device":              {"inst/d/dev", &fstest.MapFile{Mode: fs.ModeDevice}, "neither a file nor a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			repo := files("inst/compose.yaml", compose(`["./d:/d:ro"]`))
			repo[c.path] = c.file
			_, err := load(t, repo)
			var ps desired.Problems
			if !errors.As(err, &ps) || len(ps) != 1 || !strings.Contains(ps[0].Text, c.want) || ps[0].Line != 4 {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestLinkInsideTheRepository(t *testing.T) {
	repo := files("inst/compose.yaml", compose(`["./d:/d:ro"]`), "shared/conf/x", "content")
	repo["inst/d"] = &fstest.MapFile{Data: []byte("../shared/conf"), Mode: fs.ModeSymlink | 0o777}
	p := mustLoad(t, desired.ComposeInput{Tree: repo})
	if got := p.Files[mountOf(t, p, "/d").Source]; len(got.Entries) != 1 || string(got.Entries[0].Content) != "content" {
		t.Errorf("%+v", got)
	}
}

func TestObjects(t *testing.T) {
	repo := files("inst/compose.yaml", `
services:
  a:
    image: x
    configs:
      - plain
      - {source: inline, target: /etc/inline.conf, uid: "10", gid: "20", mode: 0440}
      - {source: fromenv, target: relative}
    secrets:
      - file
      - {source: env, target: pw, mode: "0400"}
      - {source: env, target: /abs/pw}
      - host
configs:
  plain: {file: ./plain.conf}
  inline: {content: "hello ${WHO}"}
  fromenv: {environment: WHO}
secrets:
  file: {file: ./secret.txt}
  env: {environment: PASSWORD}
  host: {file: /etc/host-secret}
`, "inst/plain.conf", "plain", "inst/secret.txt", "file-secret-value\n", "inst/.env", "WHO=world\nPASSWORD=p4ssw0rd\n")
	p := mustLoad(t, desired.ComposeInput{Tree: repo})
	id := func(n int) *int { return &n }
	for target, want := range map[string]desired.FileTree{
		"/plain":            {Single: true, Entries: []desired.FileEntry{{Path: "plain.conf", Mode: 0o644, Content: []byte("plain")}}},
		"/etc/inline.conf":  {Single: true, Entries: []desired.FileEntry{{Path: "inline", Mode: 0o440, UID: id(10), GID: id(20), Content: []byte("hello world")}}},
		"/relative":         {Single: true, Entries: []desired.FileEntry{{Path: "fromenv", Mode: 0o444, Content: []byte("world")}}},
		"/run/secrets/file": {Single: true, Secret: true, Entries: []desired.FileEntry{{Path: "secret.txt", Mode: 0o644, Content: []byte("file-secret-value\n")}}},
		"/run/secrets/pw":   {Single: true, Secret: true, Entries: []desired.FileEntry{{Path: "env", Mode: 0o400, Content: []byte("p4ssw0rd")}}},
		"/abs/pw":           {Single: true, Secret: true, Entries: []desired.FileEntry{{Path: "env", Mode: 0o444, Content: []byte("p4ssw0rd")}}},
	} {
		m := mountOf(t, p, target)
		if m.Type != desired.MountTracked || !m.ReadOnly || !reflect.DeepEqual(p.Files[m.Source], want) {
			t.Errorf("%s: %+v %+v", target, m, p.Files[m.Source])
		}
	}
	if m := mountOf(t, p, "/run/secrets/host"); m.Type != desired.MountBind || m.Source != "/etc/host-secret" || !m.ReadOnly || m.CreateHost {
		t.Errorf("host: %+v", m)
	}
	if want := []string{"file-secret-value", "p4ssw0rd"}; !slices.Equal(p.Sensitive, want) {
		t.Errorf("sensitive: %q", p.Sensitive)
	}
}

func TestLocalFiles(t *testing.T) {
	repo := files("inst/compose.yaml", "services:\n  a:\n    image: x:${TAG}\n    env_file: app.env\n    environment: {URL: \"db://u:${PASSWORD}@h\"}\n    volumes: [\"./conf:/conf:ro\"]\n",
		"inst/.env", "TAG=1\nPASSWORD=from-git\n", "inst/app.env", "A=in-git\n", "inst/conf/a", "git a", "inst/conf/b", "git b")
	local := files(".env", "TAG=2026\nPASSWORD=from-host\nDEBUG=true\n", "app.env", "A=host-only-token\n", "conf/b", "host b", "conf/c", "host c")
	local["conf/b"].Mode = 0o600
	p := mustLoad(t, desired.ComposeInput{Tree: repo, Local: local, Env: map[string]string{"TAG": "3"}})
	a := p.Services["a"]
	if a.Image != "x:3" || a.Environment["URL"] != "db://u:from-host@h" || a.Environment["A"] != "host-only-token" {
		t.Errorf("%+v", a)
	}
	if want := []string{"from-host", "host-only-token"}; !slices.Equal(p.Sensitive, want) {
		t.Errorf("sensitive: %q, want %q", p.Sensitive, want)
	}
	got := p.Files[mountOf(t, p, "/conf").Source].Entries
	want := []desired.FileEntry{{Path: "a", Mode: 0o644, Content: []byte("git a")}, {Path: "b", Mode: 0o600, Content: []byte("host b")}, {Path: "c", Mode: 0o644, Content: []byte("host c")}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

// TestNothingOfTheHost loads with a hostile surrounding: other directory, home
// and variables must not show.
func TestNothingOfTheHost(t *testing.T) {
	repo := files("inst/compose.yaml", "include: [sub/compose.yaml]\nservices:\n  a:\n    extends: {file: ../shared/base.yaml, service: base}\n    environment: {PLANTED: , B: \"${PLANTED:-unset}\"}\n",
		"inst/sub/compose.yaml", "include: [{path: deeper/compose.yaml, env_file: deeper/x.env}]\nservices: {b: {image: b, env_file: b.env, volumes: [\"./b:/b\", \"b.txt:/t\"], develop: {watch: [{path: ./w, action: rebuild}]}}}\nvolumes: {b.txt: }\n",
		"inst/sub/deeper/compose.yaml", "services: {c: {image: \"c:${X}\", volumes: [\"./c:/c:ro\"]}}\n", "inst/sub/deeper/x.env", "X=9\n", "inst/sub/deeper/c/f", "f",
		"inst/sub/b.env", "BB=1\n", "shared/base.yaml", "services: {base: {image: x, volumes: [\"./s:/s\"]}}\n")
	in := desired.ComposeInput{Tree: repo}
	first := mustLoad(t, in)
	dir := t.TempDir()
	for _, f := range []string{".env", "b.env", "sub/b.env", "sub/deeper/compose.yaml", "compose.yaml", "x.env", "deeper/x.env", "deeper/compose.yaml", "shared/base.yaml"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f), []byte("PLANTED=yes\nX=planted\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	temp := filepath.Join(t.TempDir(), "odd $HOME dir")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Setenv("PLANTED", "yes")
	t.Setenv("X", "planted")
	t.Setenv("HOME", dir)
	t.Setenv("TMPDIR", temp)
	second := mustLoad(t, in)
	if !reflect.DeepEqual(first, second) {
		t.Errorf("the surrounding shows:\n%+v\n%+v", first, second)
	}
	if c := first.Services["c"]; c.Image != "c:9" || c.Mounts[0].Type != desired.MountTracked {
		t.Errorf("c: %+v", c)
	}
	if b := first.Services["b"]; b.Environment["BB"] != "1" || b.Mounts[0].Source != "sub/b" {
		t.Errorf("b: %+v", b)
	}
	if a := first.Services["a"]; a.Mounts[0].Source != "_up/shared/s" || a.Environment["B"] != "unset" {
		t.Errorf("a: %+v", a)
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the temporary directory: %v %v", left, err)
	}
	b, err := json.Marshal(second)
	if err != nil || strings.Contains(string(b), temp) || strings.Contains(string(b), "fairlead-compose-") {
		t.Errorf("the temporary directory shows: %s %v", b, err)
	}
}

// What the engine takes for something else than a name is none: a volume named
// as a path would be that directory of the host, past every policy.
func TestNamesThatAreNone(t *testing.T) {
	const service = "services:\n  a:\n    image: x\n"
	for name, tt := range map[string]struct{ compose, want string }{
		"a path":           {service + "    volumes: ['vol:/v']\nvolumes:\n  vol:\n    name: /etc\n    external: true\n", "inst/compose.yaml:7: volumes.vol.name: "},
		"a path and more":  {service + "    volumes: ['vol:/v']\nvolumes:\n  vol:\n    name: x:/y\n", "inst/compose.yaml:7: volumes.vol.name: "},
		"another's":        {service + "    networks: [net]\nnetworks:\n  net:\n    name: container:x\n    external: true\n", "inst/compose.yaml:7: networks.net.name: "},
		"a volume's name":  {service + "    volumes: ['vol:/v']\nvolumes:\n  vol:\n    name: a.b-c_d\n    external: true\n", ""},
		"a network's name": {service + "    networks: [net]\nnetworks:\n  net:\n    name: a.b c/d\n    external: true\n", ""},
	} {
		_, err := Load(desired.ComposeInput{Tree: files("inst/compose.yaml", tt.compose), Dir: "inst", Name: "acme"})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}
