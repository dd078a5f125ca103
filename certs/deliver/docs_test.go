package deliver_test

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
)

// What docs/own-proxy.md shows loads, and nothing is said against it.
func TestOwnProxyDoc(t *testing.T) {
	text, err := os.ReadFile("../../docs/own-proxy.md")
	must(t, err)
	var pending string
	loaded := 0
	for i, block := range strings.Split(string(text), "```") {
		body, yaml := strings.CutPrefix(block, "yaml\n")
		switch {
		case i%2 == 0 || !yaml:
		case strings.HasPrefix(body, "certificates:"):
			pending = body
		case strings.HasPrefix(body, "services:"):
			s, err := desired.Load(desired.Input{Tree: fstest.MapFS{
				"own/instance.yaml": {Data: []byte("apiVersion: fairlead/v1\nname: own\n" + pending)},
				"own/compose.yaml":  {Data: []byte(body)},
				"own/Caddyfile":     {}, "own/site.conf": {}, "own/haproxy.cfg": {},
			}, Dir: "own", Compose: compose.Load})
			if err != nil || len(s.Notes) > 0 || len(s.Certificates["data"].Reload) != 1 || len(s.Certificates["data"].Deliver) != 1 {
				t.Errorf("%s%s%v, notes %v", pending, body, err, s.Notes)
			}
			loaded++
		}
	}
	if loaded != 5 {
		t.Errorf("%d examples, want 5", loaded)
	}
}
