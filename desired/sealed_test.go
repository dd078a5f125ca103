package desired

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// keptSecrets stands for desired/secrets: lines NAME=VALUE, which only those
// open who have the key.
type keptSecrets struct {
	key    bool
	opened *int
}

func (k keptSecrets) Names(file string, data []byte) ([]string, error) {
	if string(data) == "broken" {
		return nil, Problems{{File: file, Line: 1, Text: "is broken"}}
	}
	if string(data) == "unreadable" {
		return nil, errors.New("disk on fire")
	}
	values, _ := keptSecrets{key: true}.Open(file, data)
	return sortedKeys(values), nil
}

func (k keptSecrets) Open(file string, data []byte) (map[string]string, error) {
	if k.opened != nil {
		*k.opened++
	}
	if !k.key {
		return nil, Problems{{File: file, Line: 7, Text: "is encrypted for others"}}
	}
	values := map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[name] = value
	}
	return values, nil
}

const usesSecrets = `apiVersion: fairlead/v1
name: acme
compose: {env: {DSN: "postgres://u:${secret:PASSWORD}@db/x", PLAIN: hello}}
release: {image: ghcr.io/acme/app, channel: dev}
upgrade: {busy: {url: "http://app:80/busy?key=${secret:BUSY}", field: locked}}
health: {service: app, port: 80}
smoke:
  - {name: one, get: "/x?token=${secret:TOKEN}"}
`

func sealedTree(secrets string) fstest.MapFS {
	m := tree(map[string]string{"instance.yaml": usesSecrets, "compose.yaml": "services: {app: {image: ghcr.io/acme/app}}",
		"connectors/shop.yaml": "keboola: {url: https://connection.keboola.com, token: '${secret:KBC}'}\ntables: [{name: orders, id: in.c-x.orders}]\n"})
	if secrets != "" {
		m["secrets.enc.yaml"] = &fstest.MapFile{Data: []byte(secrets), Mode: 0o644}
	}
	return m
}

const allSecrets = "PASSWORD=hunter22\nBUSY=b&sy-12\nTOKEN=to ken1\nKBC=keboola-1\nUNUSED=never-used\n"

func TestSecretsOfTheRepository(t *testing.T) {
	s, err := Load(Input{Tree: sealedTree(allSecrets), Dir: ".", Compose: composeForTest, Secrets: keptSecrets{key: true}})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{s.Services["app"].Environment["DSN"], s.Services["app"].Environment["PLAIN"], s.Follow.Busy.Path, s.Smoke[0].Get, s.Connectors["shop"].Keboola.Token}
	want := []string{"postgres://u:hunter22@db/x", "hello", "/busy?key=b%26sy-12", "/x?token=to%20ken1", "keboola-1"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, value := range []string{"hunter22", "b&sy-12", "b%26sy-12", "to ken1", "to%20ken1", "keboola-1"} {
		if !slices.Contains(s.Sensitive, value) {
			t.Errorf("%q may be shown: %q", value, s.Sensitive)
		}
	}
	if slices.Contains(s.Sensitive, "never-used") {
		t.Error("what nothing refers to was taken into the specification")
	}
}

func TestTheHostIsStronger(t *testing.T) {
	local := tree(map[string]string{".env": "TOKEN=of-this-host\n"})
	s, err := Load(Input{Tree: sealedTree(allSecrets), Dir: ".", Local: local, Compose: composeForTest, Secrets: keptSecrets{key: true}})
	if err != nil || s.Smoke[0].Get != "/x?token=of-this-host" || s.Connectors["shop"].Keboola.Token != "keboola-1" {
		t.Errorf("%+v, %v", s.Smoke, err)
	}
}

// TestOnlyWhatUsesASecretChanges holds that another value of one secret
// changes the hash of what uses it and of nothing else.
func TestOnlyWhatUsesASecretChanges(t *testing.T) {
	load := func(secrets string) Spec {
		s, err := Load(Input{Tree: sealedTree(secrets), Dir: ".", Compose: composeForTest, Secrets: keptSecrets{key: true}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := load(allSecrets)
	for name, tt := range map[string]struct{ old, new, changes string }{
		"unused":    {"never-used", "still-not", ""},
		"password":  {"hunter22", "hunter23", "service"},
		"token":     {"to ken1", "to ken2", "smoke"},
		"connector": {"keboola-1", "keboola-2", "connector"},
		"busy":      {"b&sy-12", "b&sy-13", ""}, // which only says when
	} {
		after := load(strings.Replace(allSecrets, tt.old, tt.new, 1))
		changed := map[string]bool{"service": before.Services["app"].Hash() != after.Services["app"].Hash(),
			"smoke": hashJSON(before.Smoke) != hashJSON(after.Smoke), "connector": hashJSON(before.Connectors) != hashJSON(after.Connectors)}
		maps.DeleteFunc(changed, func(_ string, yes bool) bool { return !yes })
		if got := strings.Join(sortedKeys(changed), ","); got != tt.changes || (before.Hash() != after.Hash()) != (tt.changes != "") {
			t.Errorf("%s: changed %q, hash %t", name, got, before.Hash() != after.Hash())
		}
		if before.Connectors["shop"].Identity != after.Connectors["shop"].Identity {
			t.Errorf("%s: the data would be brought anew from the start", name)
		}
	}
}

// TestWithoutTheKey tells of the file alone, not of each reference.
func TestWithoutTheKey(t *testing.T) {
	_, err := Load(Input{Tree: sealedTree(allSecrets), Dir: ".", Compose: composeForTest, Secrets: keptSecrets{}})
	if err == nil || err.Error() != "secrets.enc.yaml:7: is encrypted for others" {
		t.Errorf("got %v", err)
	}
}

func TestSecretsOfAnyHost(t *testing.T) {
	opened := 0
	in := Input{Tree: sealedTree("PASSWORD=hunter22\nBUSY=b\n"), Dir: ".", Compose: composeForTest, AnyHost: true, Secrets: keptSecrets{opened: &opened}}
	s, err := Load(in)
	if err != nil || opened != 0 {
		t.Fatalf("opened %d times: %v", opened, err)
	}
	const how = " (fairlead secret set acme NAME; or NAME=VALUE in instances/acme/local/.env of its data directory)"
	want := []string{"connectors/shop.yaml:1: each host needs values for KBC" + how, "instance.yaml:7: smoke: each host needs values for TOKEN" + how}
	if slices.Sort(s.Notes); !slices.Equal(s.Notes, want) {
		t.Errorf("notes %q", s.Notes)
	}
	if got := s.Services["app"].Environment["DSN"]; got != "postgres://u:${secret:PASSWORD}@db/x" || s.Follow.Busy != nil {
		t.Errorf("got %q, %v", got, s.Follow.Busy)
	}
}

func TestSecretsFileProblems(t *testing.T) {
	for name, tt := range map[string]struct {
		file, want string
		secrets    Secrets
	}{
		"broken":     {"broken", "secrets.enc.yaml:1: is broken", keptSecrets{key: true}},
		"unreadable": {"unreadable", "read secrets.enc.yaml: disk on fire", keptSecrets{key: true}},
		"no reader":  {"A=b", "secrets.enc.yaml: cannot be read here", nil},
	} {
		_, err := Load(Input{Tree: sealedTree(tt.file), Dir: ".", Compose: composeForTest, Secrets: tt.secrets})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v", name, err)
		}
		var problems Problems
		if errors.As(err, &problems) == (name == "unreadable") {
			t.Errorf("%s: a file that cannot be read says nothing about itself: %v", name, err)
		}
	}
}
