package server

import (
	"context"
	"net/http"
	"net/url"

	"github.com/fairlead/fairlead/server/auth"
)

const (
	secretTag  = "secrets"
	secretPath = "/api/instances/{name}/secrets"
	// maxSecretBody is a value of the largest size with every byte escaped.
	maxSecretBody = 512 << 10
)

// OfSecret is the input of a call about one secret.
type OfSecret struct {
	OfInstance
	Secret string `path:"secret" maxLength:"64" doc:"the name of the secret" example:"KEBOOLA_TOKEN"`
}

// secretRoutes are about secrets, whose values no call answers.
func (a *API) secretRoutes(r *router) {
	op := func(method, path, id, summary, description string) operation {
		return operation{method: method, path: path, id: id, summary: summary, description: description, tag: secretTag, role: auth.RoleAdmin}
	}
	const commits = "The change is a commit by whoever calls. "
	route(r, op(http.MethodGet, secretPath, "listSecrets", "The names of the secrets of an instance", "Those in the repository, and for whom they are encrypted; never a value."),
		func(ctx context.Context, in *OfInstance) (SecretList, error) { return a.Secrets(ctx, in.Name) })
	set := op(http.MethodPut, secretPath+"/{secret}", "setSecret", "Set a secret of an instance", commits+"It is encrypted before it leaves this process. What refers to it is done again.")
	set.maxBody = maxSecretBody
	route(r, set,
		func(ctx context.Context, in *struct {
			OfSecret
			Body SecretValue
		}) (ChangeAnswer, error) {
			return a.SetSecret(ctx, in.Name, in.Secret, in.Body)
		})
	route(r, op(http.MethodDelete, secretPath+"/{secret}", "removeSecret", "Remove a secret of an instance", commits+"Old commits keep it, encrypted."),
		func(ctx context.Context, in *OfSecret) (ChangeAnswer, error) {
			return a.RemoveSecret(ctx, in.Name, in.Secret)
		})
	route(r, op(http.MethodPost, secretPath+"/recipients", "admitSecrets", "Change who can read the secrets of an instance", commits+"An empty change brings the file in line with .sops.yaml."),
		func(ctx context.Context, in *struct {
			OfInstance
			Body Admission
		}) (ChangeAnswer, error) {
			return a.AdmitSecrets(ctx, in.Name, in.Body)
		})
}

func secretsOf(instance, name string) string {
	path := "/api/instances/" + url.PathEscape(instance) + "/secrets"
	if name != "" {
		path += "/" + url.PathEscape(name)
	}
	return path
}

// Secrets is API.Secrets.
func (c *Client) Secrets(ctx context.Context, instance string) (SecretList, error) {
	return call[SecretList](ctx, c, http.MethodGet, secretsOf(instance, ""), nil)
}

// SetSecret is API.SetSecret.
func (c *Client) SetSecret(ctx context.Context, instance, name string, v SecretValue) (ChangeAnswer, error) {
	return call[ChangeAnswer](ctx, c, http.MethodPut, secretsOf(instance, name), v)
}

// RemoveSecret is API.RemoveSecret.
func (c *Client) RemoveSecret(ctx context.Context, instance, name string) (ChangeAnswer, error) {
	return call[ChangeAnswer](ctx, c, http.MethodDelete, secretsOf(instance, name), nil)
}

// AdmitSecrets is API.AdmitSecrets.
func (c *Client) AdmitSecrets(ctx context.Context, instance string, adm Admission) (ChangeAnswer, error) {
	return call[ChangeAnswer](ctx, c, http.MethodPost, secretsOf(instance, "recipients"), adm)
}
