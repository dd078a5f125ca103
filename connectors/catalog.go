package connectors

import (
	"time"

	"github.com/fairlead/fairlead/desired"
)

// CatalogTable is a table that can be queried.
type CatalogTable struct {
	Source string `json:"source"`
	Name   string `json:"name"`
	// Flat is the name without the source; empty when another source has it, whose
	// table is then FlatOwner.
	Flat          string            `json:"flat,omitempty"`
	FlatOwner     string            `json:"flat_owner,omitempty"`
	Description   string            `json:"description,omitempty"`
	Owner         string            `json:"owner,omitempty"`
	QueryMode     desired.QueryMode `json:"query_mode"`
	Rows          int64             `json:"rows"`
	Bytes         int64             `json:"bytes"`
	Columns       []Column          `json:"columns"`
	PrimaryKey    []string          `json:"primary_key,omitempty"`
	ExtractedAt   time.Time         `json:"extracted_at,omitzero"`
	Generation    int               `json:"generation"`
	PublishedAt   time.Time         `json:"published_at,omitzero"`
	SchemaChanges []string          `json:"schema_changes,omitempty"`
}
