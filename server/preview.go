package server

import (
	"context"

	"github.com/fairlead/fairlead/connectors"
)

// Preview is a commit as it would be made.
type Preview struct {
	Files   []PreviewFile `json:"files"`
	Message string        `json:"message"`
	Author  Author        `json:"author"`
}

// PreviewFile is a file of a Preview as it would be written.
type PreviewFile struct {
	Path string `json:"path"`
	New  bool   `json:"new"` // there is none of this name yet
	Text string `json:"text"`
}

// PreviewConnector is CommitConnector without the commit: what the files would
// be. What is secret in them is encrypted already.
func (a *API) PreviewConnector(ctx context.Context, instance string, c ConnectorDraft, tables []connectors.Discovered) (Preview, error) {
	return Preview{}, errNotWired
}
