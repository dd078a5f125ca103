package desired

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestLoadConnectorByItself(t *testing.T) {
	file := "keboola: {url: 'https://connection.keboola.com', token: '${secret:KEBOOLA_STORAGE_TOKEN}'}\ntables: []\n"
	in := Input{Tree: fstest.MapFS{"i/instance.yaml": {Data: []byte("nonsense: [")}, "i/connectors/other.yaml": {Data: []byte("wrong: true")}}, Dir: "i",
		Compose: func(c ComposeInput) (Project, error) {
			if !c.NoFiles {
				t.Error("compose files were read")
			}
			return Project{HostEnv: map[string]string{"KEBOOLA_STORAGE_TOKEN": "of-the-host"}}, nil
		}}
	spec, err := LoadConnector(in, "acme", "keboola", []byte(file), nil)
	if err != nil || spec.Keboola.Token != "of-the-host" {
		t.Errorf("%+v, %v", spec.Keboola, err)
	}
	spec, err = LoadConnector(in, "acme", "keboola", []byte(file), map[string]string{"KEBOOLA_STORAGE_TOKEN": "given"})
	if err != nil || spec.Keboola.Token != "given" {
		t.Errorf("%+v, %v", spec.Keboola, err)
	}
	in.Compose, in.Dir = nil, "instances/new"
	for name, c := range map[string]struct{ name, file, want string }{
		"no value":   {"keboola", file, "instances/new/connectors/keboola.yaml:1: keboola.token: this host has no value for the secret KEBOOLA_STORAGE_TOKEN"},
		"bad name":   {"a-b", strings.ReplaceAll(file, "${secret:KEBOOLA_STORAGE_TOKEN}", "t"), "connector's name"},
		"bad key":    {"k", file + "nope: 1\n", "nope"},
		"bad values": {"k", strings.Replace(file, "https", "http", 1), "keboola.url"},
	} {
		if _, err := LoadConnector(in, "acme", c.name, []byte(c.file), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
