package main

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
)

// What the desired state calls a name of the catalog is one of the extract
// contract, and the other way round but for those that are taken.
func TestConnectorNamesAreThoseOfTheContract(t *testing.T) {
	taken := map[string]bool{"fairlead": true, "main": true, "temp": true, "system": true, "information_schema": true, "pg_catalog": true, "_meta": true, "_remote_attach": true}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.StringMatching(`[a-zA-Z0-9_-]{1,66}`), rapid.StringMatching(`[a-zA-Z_][a-zA-Z0-9_]{0,63}`), rapid.SampledFrom([]string{"main", "_meta"})).Draw(t, "name")
		_, err := desired.ParseConnector("a.yaml", fmt.Appendf(nil, "image: a/b\ntables: [{name: %q}]", name))
		if (err == nil) != (connectors.ValidName(name) && !taken[name]) {
			t.Fatalf("%q: %v, ValidName %v", name, err, connectors.ValidName(name))
		}
	})
}
