package compose

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/desired"
)

// Each way to ask for more than a policy permits is refused where it is
// written, also in what an overlay, an include or extends brings.
func TestBounds(t *testing.T) {
	no := false
	images := desired.Bounds{Of: "it", Images: []string{"ghcr.io/keboola/*"}}
	confined := desired.Bounds{Of: "it", Privileged: &no}
	mounts := desired.Bounds{Of: "it", HostMounts: []string{"/data"}}
	const ours = "services:\n  a:\n    image: ghcr.io/keboola/app:1\n"
	for name, tt := range map[string]struct {
		b       desired.Bounds
		compose string
		over    string // compose.override.yaml
		want    string // file:line: field, of each problem
		rule    string
	}{
		"our image":     {images, ours, "", "", ""},
		"another image": {images, "services:\n  a:\n    image: ghcr.io/keboola/../evil\n", "", "inst/compose.yaml:3: services.a.image", desired.RuleImages},
		"an overlay": {images, ours, "services:\n  a:\n    image: evil/app\n",
			"inst/compose.override.yaml:3: services.a.image", desired.RuleImages},
		"a variable":         {images, "services:\n  a:\n    image: ${IMAGE:-evil/app}\n", "", "inst/compose.yaml:3: services.a.image", desired.RuleImages},
		"extends":            {images, "services:\n  a:\n    extends: {file: ../base.yaml, service: base}\n", "", "base.yaml:3: services.a.image", desired.RuleImages},
		"include":            {images, "include: [../base.yaml]\n" + ours, "", "base.yaml:3: services.base.image", desired.RuleImages},
		"an image as volume": {images, ours + "    volumes:\n      - {type: image, source: evil/app, target: /x}\n", "", "inst/compose.yaml:5: services.a.volumes[0]", desired.RuleImages},
		"a profile that is off": {images, ours + "  b:\n    image: evil/app\n    profiles: [x]\n", "",
			"", ""},
		"privileged":      {confined, ours + "    privileged: true\n", "", "inst/compose.yaml:4: services.a.privileged", desired.RulePrivileged},
		"an overlaid one": {confined, ours, "services:\n  a:\n    cap_add: [KILL, SYS_ADMIN]\n", "inst/compose.override.yaml:3: services.a.cap_add[1]", desired.RulePrivileged},
		"host namespaces": {confined, ours + "    pid: host\n    network_mode: host\n", "", "inst/compose.yaml:4: services.a.pid inst/compose.yaml:5: services.a.network_mode", desired.RulePrivileged},
		"a profile of seccomp": {confined, ours + "    security_opt:\n      - seccomp=./all.json\n", "", "inst/compose.yaml:5: services.a.security_opt[0]",
			desired.RulePrivileged},
		"a device":           {confined, ours + "    devices: [/dev/sda]\n", "", "inst/compose.yaml:4: services.a.devices[0]", desired.RulePrivileged},
		"the socket":         {confined, ours + "    volumes:\n      - /x:/x\n      - /var/run/docker.sock:/s\n", "", "inst/compose.yaml:6: services.a.volumes[1]", desired.RulePrivileged},
		"all of the host":    {confined, ours + "    volumes:\n      - {type: bind, source: /, target: /host, read_only: true}\n", "", "inst/compose.yaml:5: services.a.volumes[0]", desired.RulePrivileged},
		"a mount":            {mounts, ours + "    volumes: ['/data/x:/x', '/data/../etc:/e', './own:/own', 'named:/n']\nvolumes: {named: {}}\n", "", "inst/compose.yaml:4: services.a.volumes[1]", desired.RuleHostMounts},
		"a long mount":       {mounts, ours + "    volumes:\n      - type: bind\n        source: /etc\n        target: /e\n", "", "inst/compose.yaml:5: services.a.volumes[0]", desired.RuleHostMounts},
		"a bound volume":     {mounts, ours + "    volumes: ['vol:/v']\nvolumes:\n  vol:\n    driver_opts: {type: none, o: bind, device: /etc}\n", "", "inst/compose.yaml:7: volumes.vol.driver_opts", desired.RuleHostMounts},
		"the host's network": {confined, ours + "    networks: [n]\nnetworks:\n  n:\n    name: host\n    external: true\n", "", "inst/compose.yaml:7: networks.n.name", desired.RulePrivileged},
		"a network":          {confined, ours + "    networks: [n]\nnetworks:\n  n:\n    name: hosts\n    external: true\n", "", "", ""},
		"a directory in one that is written to": {confined, ours + "    volumes: ['./own:/own']\n  b:\n    image: ghcr.io/keboola/app:1\n    volumes: ['./own/sub:/s:ro']\n", "",
			"inst/compose.yaml:7: services.b.volumes", desired.RulePrivileged},
		"a directory in one of all": {mounts, ours + "    volumes: ['.:/own', './own/sub:/s']\n", "", "inst/compose.yaml:4: services.a.volumes", desired.RuleHostMounts},
		"directories side by side":  {mounts, ours + "    volumes: ['./own:/own', './own2:/s', './all.json:/own/a:ro']\n", "", "", ""},
		"a config":                  {mounts, ours + "    configs: [c]\nconfigs:\n  c:\n    file: /etc/passwd\n", "", "inst/compose.yaml:7: configs.c.file", desired.RuleHostMounts},
		"a secret":                  {mounts, ours + "    secrets: [c]\nsecrets:\n  c:\n    file: /etc/shadow\n", "", "inst/compose.yaml:7: secrets.c.file", desired.RuleHostMounts},
		"an unused volume":          {mounts, ours + "volumes:\n  v:\n    driver_opts: {type: none, o: bind, device: /etc}\n", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			repo := files("inst/compose.yaml", tt.compose, "base.yaml", "services:\n  base:\n    image: evil/app\n", "inst/all.json", "{}")
			if tt.over != "" {
				repo["inst/compose.override.yaml"] = files("x", tt.over)["x"]
			}
			_, err := Load(desired.ComposeInput{Tree: repo, Dir: "inst", Name: "acme", Bounds: []desired.Bounds{{Of: "nobody"}, tt.b}})
			var problems desired.Problems
			if err != nil && !errors.As(err, &problems) {
				t.Fatal(err)
			}
			var got []string
			for _, p := range problems {
				at, _, _ := strings.Cut(desired.Problem{File: p.File, Line: p.Line, Field: p.Field, Text: "|"}.String(), ": |")
				got = append(got, at)
				if p.Rule != tt.rule || p.Hint == "" || !strings.HasSuffix(p.Text, ": it does not permit it") {
					t.Errorf("%+v", p)
				}
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("got %s\nwant %s", s, tt.want)
			}
			if problems.Forbidden() != (tt.want != "") {
				t.Error("what is forbidden is not told from what is wrong")
			}
		})
	}
}

// A policy hides nothing else that is wrong, and the other way round.
func TestBoundsBesideOtherProblems(t *testing.T) {
	_, err := Load(desired.ComposeInput{Tree: files("inst/compose.yaml", "services:\n  a:\n    image: evil/app\n    restart: sometimes\n"), Dir: "inst", Name: "acme",
		Bounds: []desired.Bounds{{Of: "it", Images: []string{}}}})
	var problems desired.Problems
	if !errors.As(err, &problems) || len(problems) != 2 || problems.Forbidden() ||
		!slices.ContainsFunc(problems, func(p desired.Problem) bool { return p.Rule == desired.RuleImages }) {
		t.Errorf("got %v", err)
	}
}
