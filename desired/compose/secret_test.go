package compose

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fairlead/fairlead/desired"
)

// loadWithSecrets loads a compose file whose references are filled in from
// values; nil values stand for no host in particular.
func loadWithSecrets(t *testing.T, file string, local map[string]string, values map[string]string) (desired.Project, map[string]string, error) {
	t.Helper()
	in := desired.ComposeInput{Tree: fstest.MapFS{"compose.yaml": {Data: []byte(file)}}, Dir: ".", Name: "acme",
		Env: map[string]string{"DSN": "postgres://${secret:PASSWORD}@db", "PLAIN": "plain"}}
	if local != nil {
		own := fstest.MapFS{}
		for name, text := range local {
			own[name] = &fstest.MapFile{Data: []byte(text)}
		}
		in.Local = own
	}
	var seen map[string]string
	in.Fill = func(host map[string]string) desired.ComposeValues {
		seen = maps.Clone(host)
		return desired.ComposeValues{
			Env: map[string]string{"DSN": "postgres://" + values["PASSWORD"] + "@db", "PLAIN": "plain"}, Sensitive: []string{values["PASSWORD"]},
			Secret: func(name string) (string, bool) {
				if values == nil {
					return "${secret:" + name + "}", true
				}
				v, ok := values[name]
				return v, ok
			}}
	}
	p, err := Load(in)
	return p, seen, err
}

func TestSecretsInComposeFiles(t *testing.T) {
	const file = `services:
  web:
    image: nginx
    environment:
      TOKEN: "a${secret:TOKEN}b"
      LITERAL: "$${secret:TOKEN} and $$"
      ODD: "$$${secret:TOKEN}"
      DSN: ${DSN}
      DEFAULT: "${secret:NONE:-none}"
  list:
    image: nginx
    environment:
      - TOKEN=${secret:TOKEN}
    configs: [conf]
configs:
  conf: {content: "key=${secret:TOKEN}"}
`
	p, host, err := loadWithSecrets(t, file, map[string]string{".env": "HOSTS=own\nUSES=${PLAIN}\n"}, map[string]string{"TOKEN": "hush$hush{x}", "PASSWORD": "pass-word"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"TOKEN": "ahush$hush{x}b", "LITERAL": "${secret:TOKEN} and $", "ODD": "$hush$hush{x}", "DSN": "postgres://pass-word@db", "DEFAULT": "none"}
	if got := p.Services["web"].Environment; !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := p.Services["list"].Environment["TOKEN"]; got != "hush$hush{x}" {
		t.Errorf("in a list: %q", got)
	}
	for _, value := range []string{"hush$hush{x}", "pass-word"} {
		if !slices.Contains(p.Sensitive, value) {
			t.Errorf("%q may be shown", value)
		}
	}
	if !maps.Equal(host, map[string]string{"HOSTS": "own", "USES": "plain"}) {
		t.Errorf("the host's own variables: %v", host)
	}
	found := false
	for _, tree := range p.Files {
		for _, e := range tree.Entries {
			found = found || string(e.Content) == "key=hush$hush{x}"
		}
	}
	if !found {
		t.Error("the content of the config has no secret")
	}
}

func TestSecretsOfNoHostInComposeFiles(t *testing.T) {
	p, _, err := loadWithSecrets(t, "services: {web: {image: nginx, environment: {A: \"x${secret:TOKEN}\"}}}", nil, nil)
	if err != nil || p.Services["web"].Environment["A"] != "x${secret:TOKEN}" {
		t.Errorf("%q, %v", p.Services["web"].Environment, err)
	}
}

// TestSecretsAreRefusedWhereTheyWouldBeSeen: in labels, names, commands, images.
func TestSecretsAreRefusedWhereTheyWouldBeSeen(t *testing.T) {
	for place, yaml := range map[string]string{
		"labels":   `labels: {a: "${secret:TOKEN}"}`,
		"image":    `image: "nginx:${secret:TOKEN}"`,
		"command":  `command: ["run", "--token=${secret:TOKEN}"]`,
		"hostname": `hostname: "${secret:TOKEN}"`,
	} {
		file := "services:\n  web:\n    image: nginx\n    " + yaml + "\n"
		if place == "image" {
			file = "services:\n  web:\n    " + yaml + "\n"
		}
		_, _, err := loadWithSecrets(t, file, nil, map[string]string{"TOKEN": "hush-hush"})
		if err == nil || !strings.Contains(err.Error(), "a secret reference is not filled in here") || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", place, err)
		}
	}
	_, _, err := loadWithSecrets(t, "services: {web: {image: nginx, environment: {A: \"${secret:NONE}\", B: \"${secret:a.b}\"}}}", nil, map[string]string{})
	if err == nil || !strings.Contains(err.Error(), "A: this host has no value for the secret NONE (fairlead secret set acme NONE") ||
		!strings.Contains(err.Error(), "B: the ${…} is not written correctly") || strings.Contains(err.Error(), secretPrefix) {
		t.Errorf("got %v", err)
	}
}

func TestUnsealed(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "$": "$", "a$": "a$", "$$": "$$", "${secret:A}": "${_fairlead_secret_A}", "$${secret:A}": "$${secret:A}",
		"$$${secret:A}$": "$$${_fairlead_secret_A}$", "${A:-${secret:B}}": "${A:-${_fairlead_secret_B}}", "$A${secret:": "$A${_fairlead_secret_",
	} {
		if got := unsealed(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}
