package server

import (
	"context"
	"encoding/json"

	"github.com/fairlead/fairlead/connectors"
)

// ConnectorDraft is a connector that is in no commit yet.
type ConnectorDraft struct {
	Name string `json:"name"`
	// Fields are those of a connector's file, as JSON in the order in which the
	// file is to have them: {"keboola": {"url": "…", "token": "${secret:NAME}"}}.
	Fields json.RawMessage `json:"fields"`
	// Secrets are values that Fields refer to, by name. They are committed
	// encrypted, and shown nowhere.
	Secrets map[string]string `json:"secrets,omitempty"`
}

// TryConnector asks the service of a connector that is in no commit yet what it
// has, by the credentials in the draft. instance need not exist.
func (a *API) TryConnector(ctx context.Context, instance string, c ConnectorDraft) (Discovery, error) {
	return Discovery{}, errNotWired
}

// CommitConnector commits a connector with the tables that were chosen of what
// TryConnector found, its secrets encrypted, and the instance where there is none
// of this name yet. A connector of this name is replaced.
func (a *API) CommitConnector(ctx context.Context, instance string, c ConnectorDraft, tables []connectors.Discovered) (ChangeAnswer, error) {
	return ChangeAnswer{}, errNotWired
}

var errNotWired = &Error{Status: 501, Detail: "connectors cannot be configured by this build"}
