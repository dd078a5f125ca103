package source

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fairlead/fairlead/certs/cloud"
)

// azureGet asks a service of Azure's as the managed identity of the VM.
func (j *job) azureGet(ctx context.Context, who, endpoint, path, resource string, h http.Header, limit int64) (answer, credential, error) {
	g, err := serviceGuard(endpoint)
	if err != nil {
		return answer{}, credential{}, err
	}
	for try := 0; ; try++ {
		c, err := j.azureToken(ctx, resource)
		if err != nil {
			return answer{}, c, err
		}
		q := question{who: who, method: http.MethodGet, url: endpoint + path, header: h.Clone(), limit: limit, hide: []string{c.token}, guard: g}
		q.header.Set("Authorization", "Bearer "+c.token)
		a, err := j.ask(ctx, q)
		if err != nil || !azureExpired(a) || try > 0 {
			return a, c, err
		}
		j.azure.drop(ctx, resource)
	}
}

// azureExpired reports whether a token is no longer taken. Blob Storage may say
// 403 to one that ended, with a code of its own.
func azureExpired(a answer) bool {
	code := a.header.Get("X-Ms-Error-Code")
	return a.status == http.StatusUnauthorized || a.status == http.StatusForbidden && (code == "AuthenticationFailed" || code == "InvalidAuthenticationInfo")
}

func (f *Fetcher) azureToken(ctx context.Context, resource string) (credential, error) {
	return f.azure.get(ctx, resource, f.opts.Now, func(ctx context.Context) (credential, time.Time, error) {
		return f.azureVMToken(ctx, resource)
	})
}

// azureVMToken asks the metadata service of the VM for a token of its managed
// identity. The header keeps out whoever can only make this machine send a GET.
func (f *Fetcher) azureVMToken(ctx context.Context, resource string) (none credential, now time.Time, err error) {
	const who = "the metadata service of Azure"
	now = f.opts.Now()
	g, err := metadataGuard(f.opts.Endpoints.AzureMetadata)
	if err != nil {
		return none, now, err
	}
	q := url.Values{"api-version": {"2018-02-01"}, "resource": {resource}}
	if id := f.opts.Azure.ClientID; id != "" {
		q.Set("client_id", id)
	}
	a, err := f.ask(ctx, question{who: who, method: http.MethodGet, url: f.opts.Endpoints.AzureMetadata + "/metadata/identity/oauth2/token?" + q.Encode(),
		header: http.Header{"Metadata": {"true"}}, guard: g, direct: true, quick: true, limit: 64 << 10})
	if err != nil {
		return none, now, noIdentity(err, "this is no VM of Azure's, or its metadata may not be reached from here")
	}
	switch a.status {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusForbidden:
		return none, now, fail(ErrForbidden, "%s gives no token: %s; assign a managed identity to the VM, and name it by its client ID when there are several", who, plain(azureSays(a), nil))
	case http.StatusNotFound, http.StatusGone: // it is being updated, for 70 seconds at most
		return none, now, fail(ErrUnreachable, "%s is being updated (%d)", who, a.status)
	default:
		return none, now, (&job{Fetcher: f}).answered(who, a, azureSays(a), "")
	}
	var got struct {
		cloud.Token
		ClientID string `json:"client_id"`
	}
	if err := a.decode(who, &got); err != nil {
		return none, now, err
	}
	id := "the managed identity of this VM"
	if got.ClientID != "" {
		id += " (client ID " + plain(got.ClientID, nil) + ")"
	}
	return tokenOf(got.Token, id, now)
}

// azureSays is the message of an error of Azure's, in any of its forms.
func azureSays(a answer) string {
	var rest struct {
		Error struct {
			Code, Message string
		} `json:"error"`
	}
	if json.Unmarshal(a.body, &rest) == nil && rest.Error.Message != "" {
		return rest.Error.Code + ", " + rest.Error.Message
	}
	var oauth struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(a.body, &oauth) == nil && oauth.Error != "" {
		return oauth.Error + ", " + oauth.Description
	}
	return a.header.Get("X-Ms-Error-Code") // of Blob Storage
}

// resourceOf is what a token is for: the domain of the vaults or the store.
func resourceOf(endpoint, public string) string {
	if _, domain, ok := strings.Cut(endpoint, "{vault}."); ok {
		return "https://" + strings.TrimSuffix(domain, "/")
	}
	return public
}
