package desired

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"go.yaml.in/yaml/v3"
)

// composeForTest reads only what Load's own work needs: the services with
// their image, and the profiles that they are in. desired/compose is the real
// one; examples/examples_test.go puts the two together.
func composeForTest(in ComposeInput) (Project, error) {
	fsys := Overlay(in.Tree, in.Dir, in.Local)
	p := Project{Services: map[string]Service{}}
	files := in.Files
	if in.NoFiles {
		return p, hostEnv(in, &p)
	}
	if len(files) == 0 {
		found, err := findCompose(fsys, in.Dir)
		if err != nil {
			return p, err
		}
		files = []string{found}
	}
	for _, f := range files {
		data, err := fs.ReadFile(fsys, path.Join(in.Dir, f))
		if err != nil {
			return p, err
		}
		var file struct {
			Services map[string]struct {
				Image    string
				Profiles []string
				Scale    *int
				Net      string               `yaml:"network_mode"`
				Mounts   map[string]MountType // by target
				From     []string             `yaml:"volumes_from"`
			}
		}
		if err := yaml.Unmarshal(data, &file); err != nil {
			return p, Problems{{File: path.Join(in.Dir, f), Line: 1, Text: "is not YAML"}}
		}
		for name, s := range file.Services {
			on := len(s.Profiles) == 0 || slices.ContainsFunc(s.Profiles, func(x string) bool { return slices.Contains(in.Profiles, x) })
			if on {
				p.Services[name] = Service{Name: name, Image: s.Image, Environment: maps.Clone(in.Env), Replicas: 1, NetworkMode: s.Net, VolumesFrom: s.From}
				p.Services[name] = mounted(p.Services[name], s.Mounts, s.Scale)
			}
		}
	}
	if err := hostEnv(in, &p); err != nil || in.Fill == nil {
		return p, err
	}
	filled := in.Fill(p.HostEnv)
	for name, s := range p.Services {
		s.Environment = filled.Env
		p.Services[name] = s
	}
	return p, nil
}

func mounted(s Service, mounts map[string]MountType, scale *int) Service {
	for _, target := range sortedKeys(mounts) {
		s.Mounts = append(s.Mounts, Mount{Type: mounts[target], Target: target})
	}
	if scale != nil {
		s.Replicas = *scale
	}
	return s
}

// hostEnv reads lines NAME=VALUE of the host's own .env.
func hostEnv(in ComposeInput, p *Project) error {
	if in.Local == nil {
		return nil
	}
	data, err := fs.ReadFile(in.Local, ".env")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	p.HostEnv = map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\n"), "=")
		p.HostEnv[name] = strings.ReplaceAll(value, `\n`, "\n")
	}
	return err
}

// tree makes a file system of names and contents.
func tree(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, content := range files {
		m[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
	}
	return m
}

const twoServices = "services:\n  app: {image: 'ghcr.io/acme/app:dev', mounts: {/data: volume, /data/tmp: tmpfs}}\n  db: {image: postgres}\n  extra: {image: 'ghcr.io/acme/app', profiles: [extra]}\n"

// loadText loads instances/acme of an instance.yaml beside twoServices.
// signersForTest takes any file that has the word jan in it.
func signersForTest(file string, data []byte) error {
	if !strings.Contains(string(data), "jan") {
		return Problems{{File: file, Line: 1, Text: "it lists nobody"}}
	}
	return nil
}

func loadText(instance string) (Spec, error) {
	return Load(Input{Tree: tree(map[string]string{
		"instances/acme/instance.yaml": "apiVersion: fairlead/v1\nname: acme\n" + instance,
		"instances/acme/compose.yaml":  twoServices,
		"instances/acme/other.yaml":    "services: {other: {image: redis}}",
		"shared/base.yaml":             "services: {base: {image: redis}}",
		"instances/acme/ca.pem":        onePEM,
		"tls/key.age":                  "age-encryption.org/v1\n-> X25519 a\n",
		"instances/acme/signers":       "jan",
	}), Dir: "instances/acme", Local: tree(map[string]string{".env": "TOKEN=hush-hush\n"}), Compose: composeForTest, Signers: signersForTest})
}

func TestLoadDefaults(t *testing.T) {
	s, err := loadText("")
	if err != nil {
		t.Fatal(err)
	}
	want := Spec{Name: "acme", Dir: "instances/acme", Services: s.Services,
		HealthTimeout: 2 * time.Minute, Bake: 2 * time.Second, RetainGenerations: 10, LocalFiles: []string{".env"}}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got %+v, want %+v", s, want)
	}
	if got := s.ServiceNames(); !slices.Equal(got, []string{"app", "db"}) {
		t.Errorf("services are %v", got)
	}
}

func TestSpecExampleProblems(t *testing.T) {
	data, err := fs.ReadFile(testdata(), "spec-example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files := tree(map[string]string{
		"a/instance.yaml": string(data), "a/compose.yaml": twoServices, "a/compose.override.yaml": "services: {caddy: {image: caddy}}",
		"a/connectors/README.md": "", "a/secrets.enc.yaml": "",
	})
	_, err = Load(Input{Tree: files, Dir: "a", Compose: composeForTest})
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	golden(t, "testdata/example.golden", problems.Error()+"\n")
}

func TestLoadPins(t *testing.T) {
	tests := []struct{ release, app, db string }{
		{"{image: ghcr.io/acme/app, version: 2026.04.3}", "ghcr.io/acme/app:stable-2026.04.3", "postgres"},
		{"{image: ghcr.io/acme/app, channel: dev, version: 2026.04.3}", "ghcr.io/acme/app:stable-2026.04.3", "postgres"},
		{"{image: ghcr.io/acme/app, version: 2026.04.3, digest: 'sha256:" + hex64 + "'}", "ghcr.io/acme/app@sha256:" + hex64, "postgres"},
		{"{image: docker.io/library/postgres, version: 2026.04.3}", "ghcr.io/acme/app:dev", "docker.io/library/postgres:stable-2026.04.3"},
	}
	for _, tt := range tests {
		s, err := loadText("release: " + tt.release)
		if err != nil || s.Services["app"].Image != tt.app || s.Services["db"].Image != tt.db {
			t.Errorf("%s: app %s, db %s, %v", tt.release, s.Services["app"].Image, s.Services["db"].Image, err)
		}
	}
}

func TestLoadProblems(t *testing.T) {
	const at = "instances/acme/instance.yaml:"
	tests := map[string]struct{ in, want string }{
		"missing file": {"compose: {files: [compose.yml]}", at + "3: compose.files[0]: there is no file \"compose.yml\" (did you mean compose.yaml?)"},
		"outside":      {"compose: {files: [../../../x.yaml]}", at + "3: compose.files[0]: \"../../../x.yaml\" is outside the repository"},
		"no service":   {"health: {service: ap}", at + "3: health.service: there is no service \"ap\" (did you mean app?)"},
		"front":        {"front: [{host: a.b, to: 'ap:1'}]", at + "3: front[0].to: there is no service \"ap\" (did you mean app?)"},
		"no image":     {"release: {image: ghcr.io/acme/ap, version: 2026.04.3}", at + "3: release.image: no service has an image of this repository (did you mean ghcr.io/acme/app?)"},
		"reload":       {"certificates: {a: {domains: [a.b], fullchain: 'sm://x', reload: [{service: x, signal: SIGHUP}]}}", "there is no service \"x\" (allowed: app, db)"},
		"secret":       {"compose: {env: {A: 'x${secret:B}'}}", at + "3: compose.env.A: this host has no value for the secret B (fairlead secret set acme B; or write B=VALUE into instances/acme/local/.env of the host's data directory)"},
		"both files":   {"nope: 1\ncompose: {files: [broken.yaml]}", at + "3: nope: unknown key"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := loadText(tt.in)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// What is wrong with instance.yaml and with a compose file comes together.
func TestLoadReportsAllFiles(t *testing.T) {
	_, err := Load(Input{Tree: tree(map[string]string{"instance.yaml": "apiVersion: fairlead/v1\nname: a\nnope: 1\n", "compose.yaml": "{"}),
		Dir: ".", Compose: composeForTest})
	want := "compose.yaml:1: is not YAML\ninstance.yaml:3: nope: unknown key"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v", err)
	}
}

// Whatever is wrong with instance.yaml, a compose file that it does not keep
// from being read is looked at as well; one that it does is not: what would be
// said of it might not be so.
func TestProblemsHideNoOthers(t *testing.T) {
	const head, compose = "apiVersion: fairlead/v1\n", "compose.yaml:1: is not YAML"
	tests := map[string]struct {
		instance, want string
		hidden         bool
	}{
		"no name":            {head, "name: is required", false},
		"a bad name":         {head + "name: Not A Name\n", "instance.yaml:2: name: ", false},
		"an unknown key":     {head + "name: a\nhelth: {}\n", "instance.yaml:3: helth: unknown key", false},
		"a bad duration":     {head + "name: a\nhealth: {bake: soon}\n", "instance.yaml:3: health.bake: ", false},
		"a duplicate key":    {head + "name: a\nname: a\n", "instance.yaml:3: name: ", false},
		"a wrong type":       {head + "name: a\nfront: 3\n", "instance.yaml:3: front: ", false},
		"a file twice":       {head + "name: a\ncompose: {files: [compose.yaml, compose.yaml]}\n", "instance.yaml:3: compose.files[1]: ", false},
		"a file outside":     {head + "name: a\ncompose: {files: [compose.yaml, ../../x.yaml]}\n", "compose.files[1]: ", true},
		"a file not there":   {head + "name: a\ncompose: {files: [compose.yaml, x.yaml]}\n", "compose.files[1]: ", true},
		"files not a list":   {head + "name: a\ncompose: {files: {a: b}}\n", "compose.files: ", true},
		"which files":        {head + "name: a\ncompose: {fils: [a.yaml]}\n", "compose.fils: ", true},
		"a variable":         {head + "name: a\ncompose: {env: {A: [b]}}\n", "compose.env.A: ", true},
		"not YAML":           {"{", "instance.yaml:1: ", true},
		"another version":    {"apiVersion: fairlead/v9\nname: a\n", "instance.yaml:1: apiVersion: ", false},
		"signers not there":  {head + "name: a\npolicy: {allowedSigners: a}\n", "instance.yaml:3: policy.allowedSigners: there is no file", false},
		"no apiVersion":      {"name: a\n", "apiVersion: is required", false},
		"a certificate file": {head + "name: a\ncertificates: {a: {domains: [a.b], fullchain: none.pem, privkey: k.age}}\n", "certificates.a.", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Load(Input{Tree: tree(map[string]string{"i/instance.yaml": tt.instance, "i/compose.yaml": "{"}), Dir: "i", Compose: composeForTest})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), compose) == tt.hidden {
				t.Errorf("got %v\nwant %s, and of the compose file: %t", err, tt.want, !tt.hidden)
			}
			if err != nil && strings.Contains(err.Error(), standInName+"-") {
				t.Errorf("the name that stands in is told: %v", err)
			}
		})
	}
}

func TestLoadWithoutInstanceFile(t *testing.T) {
	files := tree(map[string]string{"My App/compose.yaml": twoServices, "My App/connectors/x.yaml": "", "named/docker-compose.yml": "name: my_shop\n" + twoServices,
		"compose.yaml": twoServices, "42/compose.yaml": twoServices, "var/compose.yaml": "name: ${X}\n" + twoServices, "yml/instance.yml": "", "yml/compose.yaml": twoServices})
	tests := []struct{ dir, root, name, problem string }{
		{"My App", "", "my-app", ""},
		{"named", "", "my-shop", ""},
		{"var", "", "var", ""},
		{".", "shop", "shop", ""},
		{".", "", "", `instance.yaml: no name can be made of the directory's name ""`},
		{"42", "", "", `42/instance.yaml: no name can be made of the directory's name "42"`},
		{"yml", "", "", "yml/instance.yml: is not read (rename it to instance.yaml)"},
	}
	for _, tt := range tests {
		s, err := Load(Input{Tree: files, Dir: tt.dir, RootName: tt.root, Compose: composeForTest})
		if tt.problem != "" {
			if err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("%s: got %v, want %s", tt.dir, err, tt.problem)
			}
			continue
		}
		if err != nil || s.Name != tt.name || len(s.Services) != 2 {
			t.Errorf("%s: got %+v, %v", tt.dir, s, err)
		}
		if name, err := NameOf(files, tt.dir, tt.root); name != tt.name || err != nil {
			t.Errorf("NameOf %s: got %s, %v", tt.dir, name, err)
		}
		if tt.dir == "My App" && !slices.Equal(s.Notes, []string{"connectors/x.yaml is not read: there is no instance.yaml"}) {
			t.Errorf("notes are %q", s.Notes)
		}
	}
}

func TestLoadEmpty(t *testing.T) {
	load := func(more string) (Spec, error) {
		return Load(Input{Tree: tree(map[string]string{"instance.yaml": "apiVersion: fairlead/v1\nname: a\n" + more}), Dir: ".", Compose: composeForTest})
	}
	if s, err := load("allowEmpty: true"); err != nil || !s.AllowEmpty || len(s.Services) != 0 {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := load(""); err == nil || !strings.Contains(err.Error(), "there is no compose file") {
		t.Errorf("got %v", err)
	}
}

func TestLoadLocal(t *testing.T) {
	repo := tree(map[string]string{"a/instance.yaml": "apiVersion: fairlead/v1\nname: a\n", "a/compose.yaml": twoServices})
	s, err := Load(Input{Tree: repo, Dir: "a", Compose: composeForTest, Local: tree(map[string]string{
		"instance.yaml": "apiVersion: fairlead/v1\nname: a\ncompose: {env: {TOKEN: hush, EMPTY: ''}}\n", ".env": "A=b", "conf/x": ""})})
	if err != nil || !slices.Equal(s.LocalFiles, []string{".env", "conf/x", "instance.yaml"}) || !slices.Equal(s.Sensitive, []string{"hush"}) {
		t.Errorf("got %+v, %v", s, err)
	}
	renamed := tree(map[string]string{"instance.yaml": "apiVersion: fairlead/v1\nname: b\n"})
	if _, err := Load(Input{Tree: repo, Dir: "a", Compose: composeForTest, Local: renamed}); err == nil || !strings.Contains(err.Error(), "a/instance.yaml:2: name: is not the name in the repository") {
		t.Errorf("renamed: %v", err)
	}
	link := fstest.MapFS{".env": {Data: []byte("/etc/shadow"), Mode: fs.ModeSymlink}}
	if _, err := Load(Input{Tree: repo, Dir: "a", Compose: composeForTest, Local: link}); err == nil || !strings.Contains(err.Error(), "local/.env: is not a regular file") {
		t.Errorf("a link: %v", err)
	}
	many := fstest.MapFS{}
	for i := range maxLocalFiles + 1 {
		many["f"+time.Duration(i).String()] = &fstest.MapFile{}
	}
	if _, err := Load(Input{Tree: repo, Dir: "a", Compose: composeForTest, Local: many}); err == nil || !strings.Contains(err.Error(), "more than 1000") {
		t.Errorf("many: %v", err)
	}
}

// Whichever read fails, the failure is what comes out: nothing is taken for
// absent, wrong or empty because it could not be read (law 3).
func TestEveryFailedReadIsReported(t *testing.T) {
	repo := tree(map[string]string{
		"a/instance.yaml": "apiVersion: fairlead/v1\nname: a\ncompose: {files: [compose.yaml, other.yml]}\n" +
			"certificates: {c: {domains: [a], fullchain: 'age://c.age', ca: ca.pem}, d: {domains: [a], fullchain: 'sm://x', ca: none.pem}}\n",
		"a/compose.yaml": twoServices, "a/x.yaml": "", "a/ca.pem": onePEM, "c.age": "age-encryption.org/v1\n",
		"a/connectors/x/y": "", "instances/b/compose.yaml": twoServices, "instances/c/connectors/k.yaml": "", "instances/c/compose.yml": twoServices,
	})
	local := tree(map[string]string{"instance.yaml": "apiVersion: fairlead/v1\nname: a\n", "sub/.env": "A=b"})
	work := map[string]func(repo, local fs.FS) error{
		"load": func(repo, _ fs.FS) error {
			_, err := Load(Input{Tree: repo, Dir: "a", Compose: composeForTest})
			return err
		},
		"load with local": func(repo, local fs.FS) error {
			_, err := Load(Input{Tree: repo, Dir: "a", Local: local, Compose: composeForTest})
			return err
		},
		"load unnamed": func(repo, _ fs.FS) error {
			_, err := Load(Input{Tree: repo, Dir: "instances/c", Compose: composeForTest})
			return err
		},
		"discover":       func(repo, _ fs.FS) error { _, err := Discover(repo, nil); return err },
		"discover globs": func(repo, _ fs.FS) error { _, err := Discover(repo, []string{"*", "instances/*"}); return err },
		"name":           func(repo, _ fs.FS) error { _, err := NameOf(repo, "instances/c", ""); return err },
	}
	for name, do := range work {
		t.Run(name, func(t *testing.T) {
			for k := 0; ; k++ {
				left := k
				err := do(failing{repo, &left}, failing{local, &left})
				if left >= 0 {
					if k < 5 {
						t.Errorf("only %d reads", k)
					}
					return
				}
				if !errors.Is(err, errBroken) {
					t.Errorf("read %d fails, the answer is %v", k, err)
				}
			}
		})
	}
}

var errBroken = errors.New("object not found")

// failing is a file system whose reads fail when left has come down to zero.
type failing struct {
	fstest.MapFS
	left *int
}

func (f failing) fails(op, name string) error {
	if *f.left--; *f.left == -1 {
		return &fs.PathError{Op: op, Path: name, Err: errBroken}
	}
	return nil
}

func (f failing) Open(name string) (fs.File, error) {
	if err := f.fails("open", name); err != nil {
		return nil, err
	}
	file, err := f.MapFS.Open(name)
	return failingFile{file, f, name}, err
}

func (f failing) Stat(name string) (fs.FileInfo, error) {
	if err := f.fails("stat", name); err != nil {
		return nil, err
	}
	return f.MapFS.Stat(name)
}

func (f failing) Lstat(name string) (fs.FileInfo, error) {
	if err := f.fails("lstat", name); err != nil {
		return nil, err
	}
	return f.MapFS.Lstat(name)
}

func (f failing) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := f.fails("readdir", name); err != nil {
		return nil, err
	}
	return f.MapFS.ReadDir(name)
}

func (f failing) ReadFile(name string) ([]byte, error) {
	if err := f.fails("readfile", name); err != nil {
		return nil, err
	}
	return f.MapFS.ReadFile(name)
}

type failingFile struct {
	fs.File
	from failing
	name string
}

func (f failingFile) Read(b []byte) (int, error) {
	if err := f.from.fails("read", f.name); err != nil {
		return 0, err
	}
	return f.File.Read(b)
}

func TestSecretsAreNotRepeated(t *testing.T) {
	_, err := ParseInstance("i", []byte("apiVersion: fairlead/v1\nname: a\nnotify: ['hunter2']\ncompose: {env: {A: \"hunter2\\0\"}}\n"+
		"upgrade: {busy: {url: 'http://me:hunter2@x/', field: a}}\ncertificates: {a: {domains: [a.b], fullchain: 'https://me:hunter2@x/'}}\n"))
	b, _ := json.Marshal(err)
	if err == nil || len(err.(Problems)) != 4 || strings.Contains(string(b), "hunter2") {
		t.Errorf("got %s", b)
	}
}
