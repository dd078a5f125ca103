package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// instance writes a directory with one instance.
func (w *world) instance(dir, name, front, compose string) string {
	w.write(dir+"/instance.yaml", "apiVersion: fairlead/v1\nname: "+name+"\n"+front)
	w.write(dir+"/compose.yaml", compose)
	return dir
}

const oneService = "services:\n  web:\n    image: example.com/app:1\n"

// TestValidateSeesClaimsOfTwoInstances: what the daemon refuses to begin is told
// before the commit, with both places.
func TestValidateSeesClaimsOfTwoInstances(t *testing.T) {
	front := "front:\n  - {host: data.acme.com, to: \"web:8000\"}\n"
	for _, tt := range []struct {
		name                 string
		frontA, a, frontB, b string
		nameA, nameB         string
		line, says, hint     string
	}{
		{name: "front host", nameA: "a", nameB: "b", frontA: front, frontB: "# mine\n" + front, a: oneService, b: oneService,
			line: "repo/b/instance.yaml:5: front[0].host: ", says: "host data.acme.com is of instance a already (repo/a/instance.yaml:4)", hint: "take it out of front"},
		{name: "container name", nameA: "a", nameB: "b", a: oneService + "    container_name: shop\n", b: oneService + "    container_name: \"shop\"\n",
			line: "repo/b/compose.yaml:4: services.web.container_name: ", says: "container shop is of instance a already (repo/a/compose.yaml:4)", hint: "leave container_name out"},
		{name: "container name that comes of itself", nameA: "a", nameB: "a-b", a: strings.ReplaceAll(oneService, "web", "b-web"), b: oneService,
			line: "repo/b: services.web: ", says: "container a-b-web-1 is of instance a already", hint: "rename one"},
		{name: "network", nameA: "a", nameB: "b", a: oneService + "networks: {default: {name: lan}}\n", b: oneService + "networks:\n  default:\n    name: lan\n",
			line: "repo/b/compose.yaml:6: networks.default.name: ", says: "network lan is of instance a already (repo/a/compose.yaml:4)", hint: "external: true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a, b := w.instance("repo/a", tt.nameA, tt.frontA, tt.a), w.instance("repo/b", tt.nameB, tt.frontB, tt.b)
			for _, args := range [][]string{{"validate", "repo"}, {"validate", a, b}} {
				r := w.must(1, args...)
				if !strings.Contains(r.stdout, tt.line) || !strings.Contains(r.stdout, tt.says) || !strings.Contains(r.stdout, tt.hint) ||
					!strings.Contains(r.stdout, "1 problem") || !strings.Contains(r.stdout, "ok: "+tt.nameA) {
					t.Errorf("fairlead %v:\n%s", args, r.stdout)
				}
			}
			w.must(0, "validate", a)
			w.must(0, "validate", b)
			w.must(0, "validate", b, b) // named twice
		})
	}
}

func TestValidateLetsInstancesShareWhatIsExternal(t *testing.T) {
	w := newWorld(t)
	shared := oneService + "networks:\n  default:\n    name: lan\n    external: true\n"
	w.instance("repo/a", "a", "front: [{host: a.acme.com, to: \"web:8000\"}]\n", shared)
	w.instance("repo/b", "b", "front: [{host: b.acme.com, to: \"web:8000\"}]\n", shared)
	r := w.must(0, "validate", "repo", "-o", "json")
	var all []validated
	if err := json.Unmarshal([]byte(r.stdout), &all); err != nil || len(all) != 2 || !all[0].OK || !all[1].OK {
		t.Errorf("%v: %s", err, r.stdout)
	}
}
