package server

import (
	"context"
	"maps"
	"slices"

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
	p, err := a.placeOf(ctx, instance, c.Name)
	if err != nil {
		return Preview{}, err
	}
	w, err := a.write(p, c, tables)
	if err != nil {
		return Preview{}, err
	}
	change, err := a.planned(w)
	if err != nil {
		return Preview{}, err
	}
	preview := Preview{Message: change.Message, Author: authorOf(ctx)}
	for _, name := range slices.Sorted(maps.Keys(change.Files)) {
		was, err := p.read(name)
		if err != nil {
			return Preview{}, err
		}
		preview.Files = append(preview.Files, PreviewFile{Path: name, New: was == nil, Text: string(change.Files[name])})
	}
	return preview, nil
}
