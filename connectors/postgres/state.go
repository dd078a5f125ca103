package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/fairlead/fairlead/connectors"
)

// fingerprint is of all that decides which rows and columns come, besides time.
func fingerprint(where target, spec connectors.TableSpec, key []string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d %q %q %q %q %q %q %q %q", where.host, where.port, where.database, spec.ID, spec.Query, spec.Columns, spec.Where, spec.Strategy, key, spec.Options)
	return hex.EncodeToString(h.Sum(nil)[:12])
}
