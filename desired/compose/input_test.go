package compose

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/desired"
)

func services(p desired.Project) string {
	return strings.Join(slices.Sorted(maps.Keys(p.Services)), " ")
}

func TestWhichFiles(t *testing.T) {
	svc := func(name string) string { return "services: {" + name + ": {image: x}}\n" }
	all := files("inst/compose.yaml", svc("a"), "inst/docker-compose.yml", svc("old"), "inst/compose.override.yaml", svc("o"), "inst/extra.yaml", svc("e"), "base/b.yaml", svc("b"))
	withEnv := maps.Clone(all)
	maps.Copy(withEnv, files("inst/.env", "COMPOSE_FILE=compose.yaml;extra.yaml\nCOMPOSE_PATH_SEPARATOR=;\n"))
	for name, c := range map[string]struct {
		in   desired.ComposeInput
		want string
	}{
		"default with its override": {desired.ComposeInput{Tree: all}, "a o"},
		"named":                     {desired.ComposeInput{Tree: all, Files: []string{"../base/b.yaml", "extra.yaml"}}, "b e"},
		"COMPOSE_FILE":              {desired.ComposeInput{Tree: withEnv}, "a e"},
		"named wins":                {desired.ComposeInput{Tree: withEnv, Files: []string{"compose.yaml"}}, "a"},
		"the old name":              {desired.ComposeInput{Tree: files("inst/docker-compose.yml", svc("old"))}, "old"},
		"at the root":               {desired.ComposeInput{Tree: files("compose.yml", svc("r")), Dir: "."}, "r"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := services(mustLoad(t, c.in)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestProfiles(t *testing.T) {
	repo := files("inst/compose.yaml", `
services:
  always: {image: x}
  tls: {image: "x:${ONLY_TLS}", profiles: [tls]}
  debug: {image: x, profiles: [debug]}
`)
	p := mustLoad(t, desired.ComposeInput{Tree: repo})
	if services(p) != "always" || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "inst/compose.yaml:4: services.tls.image: the variable ONLY_TLS is not defined; nothing that is started uses it") {
		t.Errorf("%s %q", services(p), p.Notes)
	}
	if p := mustLoad(t, desired.ComposeInput{Tree: repo, Profiles: []string{"debug"}}); services(p) != "always debug" {
		t.Error(services(p))
	}
	_, err := Load(desired.ComposeInput{Tree: repo, Dir: "inst", Name: "acme", Profiles: []string{"tls"}})
	var ps desired.Problems
	if !errors.As(err, &ps) || len(ps) != 1 || ps[0].Line != 4 {
		t.Errorf("an active service with an undefined variable: %v", err)
	}
	repo["inst/.env"] = files("x", "COMPOSE_PROFILES=debug, tls\nONLY_TLS=1\n")["x"]
	if p := mustLoad(t, desired.ComposeInput{Tree: repo}); services(p) != "always debug tls" {
		t.Error(services(p))
	}
}

func TestVariablePrecedence(t *testing.T) {
	repo := files("inst/compose.yaml", "services:\n  a:\n    image: x\n    env_file: [one.env, two.env]\n    environment: {INTERP: \"${X}\", OWN: environment, PROJECT: \"${COMPOSE_PROJECT_NAME}\"}\n",
		"inst/.env", "X=dotenv\nY=dotenv-${X}\n", "inst/one.env", "F=one\nG=one\nOWN=one\nREF=${X}/${OWN}/${F}\n", "inst/two.env", "F=two\nFROM=$G\nTICK=`id`$(id)\n")
	p := mustLoad(t, desired.ComposeInput{Tree: repo, Env: map[string]string{"X": "instance"}})
	want := map[string]string{
		"INTERP": "instance", "OWN": "environment", "PROJECT": "acme", "F": "two", "G": "one", "REF": "instance/environment/one", "FROM": "one", "TICK": "`id`$(id)",
	}
	if got := p.Services["a"].Environment; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestSecretsAreNotQuoted: an error must not tell what a host's own file says.
func TestSecretsAreNotQuoted(t *testing.T) {
	repo := files("inst/compose.yaml", "services:\n  a: {image: x, mem_limit: \"${PASSWORD}\", restart: \"${PASSWORD}\", ports: [\"${PASSWORD}:80\"]}\n")
	_, err := Load(desired.ComposeInput{Tree: repo, Dir: "inst", Name: "acme", Local: files(".env", "PASSWORD=hunter2hunter2\n")})
	var ps desired.Problems
	if !errors.As(err, &ps) || len(ps) != 3 || ps[0].Line != 2 {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the secret shows: %v", err)
	}
}

func TestUnused(t *testing.T) {
	p := mustLoad(t, desired.ComposeInput{Tree: files("inst/compose.yaml", `
services:
  a: {image: x, volumes: ["used:/u"], networks: [used]}
  b: {image: x, volumes: ["idle:/i"], profiles: [p]}
volumes: {used: , idle: , left: }
networks: {used: {name: other}, left: {external: true}}
`)})
	if got := strings.Join(mapKeys(p.Volumes), " ") + "|" + strings.Join(mapKeys(p.Networks), " "); got != "used|used" {
		t.Error(got)
	}
	if p.Volumes["used"].Name != "acme_used" || p.Networks["used"].Name != "other" {
		t.Errorf("%+v %+v", p.Volumes, p.Networks)
	}
	if len(p.Notes) != 2 || !strings.Contains(p.Notes[0], "volumes.left") || !strings.Contains(p.Notes[1], "networks.left") {
		t.Errorf("%q", p.Notes)
	}
}

func TestNetworksAndVolumes(t *testing.T) {
	p := mustLoad(t, desired.ComposeInput{Tree: files("inst/compose.yaml", `
services: {a: {image: x, volumes: ["vol:/v", "ext:/e"], networks: [n, e]}}
volumes:
  vol: {name: named, driver: local, driver_opts: {type: nfs, size: 5}, labels: [a=b]}
  ext: {external: true}
networks:
  n:
    driver: macvlan
    driver_opts: {parent: eth0}
    internal: true
    attachable: true
    enable_ipv4: true
    enable_ipv6: true
    labels: {a: b}
    ipam: {driver: default, options: {o: p}, config: [{subnet: 10.0.0.0/8, ip_range: 10.1.0.0/16, gateway: 10.0.0.1, aux_addresses: {h: 10.0.0.9}}]}
  e: {external: true, name: host-net}
`)})
	for what, pair := range map[string][2]string{
		"v": {asJSON(t, p.Volumes["vol"]), `{"key":"vol","name":"named","driver":"local","driver_opts":{"size":"5","type":"nfs"},"labels":{"a":"b"}}`},
		"e": {asJSON(t, p.Volumes["ext"]), `{"key":"ext","name":"ext","external":true}`},
		"n": {asJSON(t, p.Networks["n"]), `{"key":"n","name":"acme_n","driver":"macvlan","driver_opts":{"parent":"eth0"},"internal":true,"attachable":true,"enable_ipv4":true,"enable_ipv6":true,` +
			`"ipam":{"driver":"default","options":{"o":"p"},"pools":[{"subnet":"10.0.0.0/8","ip_range":"10.1.0.0/16","gateway":"10.0.0.1","aux":{"h":"10.0.0.9"}}]},"labels":{"a":"b"}}`},
		"net e": {asJSON(t, p.Networks["e"]), `{"key":"e","name":"host-net","external":true}`},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got  %s\nwant %s", what, pair[0], pair[1])
		}
	}
}

// TestIgnoredKeysAreNoted sets keys that have no effect: each has its note.
func TestIgnoredKeysAreNoted(t *testing.T) {
	p := mustLoad(t, desired.ComposeInput{Tree: files("inst/compose.yaml", `
version: "3.9"
x-anything: {goes: here}
services:
  a:
    image: x
    build: .
    attach: false
    develop: {watch: []}
    x-own: 1
    ports: [{target: 80, name: web, app_protocol: http}]
    volumes: ["/a:/b:ro,cached"]
    deploy:
      labels: {a: b}
      endpoint_mode: vip
      placement: {constraints: [node.role == manager]}
      rollback_config: {parallelism: 1}
      update_config: {parallelism: 1, delay: 1s, failure_action: pause, monitor: 1s, max_failure_ratio: 0.5}
      restart_policy: {condition: any, delay: 1s, max_attempts: 3, window: 1s}
      resources: {reservations: {cpus: "1", generic_resources: [{discrete_resource_spec: {kind: SSD, value: 1}}]}}
configs: {c: {content: x, name: y, labels: {a: b}}}
`)})
	all := strings.Join(p.Notes, "\n")
	for _, want := range []string{
		":2: version:", ":7: services.a.build: set aside", ":8: services.a.attach:", "ports[0].name:", "ports[0].app_protocol:", "option cached", "deploy.labels:", "deploy.endpoint_mode:",
		"deploy.placement:", "deploy.rollback_config:", "update_config.parallelism:", "update_config.delay:", "update_config.failure_action:", "update_config.monitor:",
		"update_config.max_failure_ratio:", "restart_policy.delay:", "restart_policy.window:", "restart_policy.max_attempts:", "reservations.cpus:", "reservations.generic_resources:",
		"configs.c.name:", "configs.c.labels:", "services.a.develop:",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no note %q in\n%s", want, all)
		}
	}
	if strings.Contains(all, "x-") {
		t.Errorf("extensions are noted:\n%s", all)
	}
}
