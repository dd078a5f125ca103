package bigquery

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/fairlead/fairlead/connectors"
)

// fingerprint is of all that decides which rows and columns come, besides time.
func fingerprint(of reference, spec connectors.TableSpec, key []string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %q %q", of.sql(), spec.Columns, spec.Where, spec.Strategy, key, spec.Options)
	return hex.EncodeToString(h.Sum(nil)[:12])
}
