package google

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/certs/cloud"
	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
)

const (
	// TokenEndpoint trades signed claims for tokens.
	TokenEndpoint = "https://oauth2.googleapis.com/token"
	// MetadataEndpoint is that of every VM of Google's: its address, not its name,
	// so that no resolver can lead a token elsewhere.
	MetadataEndpoint = "http://169.254.169.254"

	maxAnswer = 64 << 10
	spare     = time.Minute // that a token which is given out lasts at least
)

// Options say who asks.
type Options struct {
	// Key is the JSON of a service account's key, a secret. Empty: the service
	// account of this machine.
	Key string
	// Scopes are what tokens are for, as URLs.
	Scopes []string
	// Token and Metadata are the endpoints; empty: Google's.
	Token    string
	Metadata string
	// Proxy is what Google's endpoint is reached through; nil: nothing. The
	// metadata server is asked without one.
	Proxy func(*http.Request) (*url.URL, error)
	// Roots are trusted for https; nil: the system's.
	Roots *x509.CertPool
}

// Tokens gives access tokens of one account. It is safe for several goroutines.
type Tokens struct {
	opts    Options
	account *cloud.Account // nil: the machine's
	http    *rest.Client

	mu    sync.Mutex
	token string
	until time.Time
}

// New reads the key; it asks nobody. The error quotes nothing of the key.
func New(opts Options) (*Tokens, error) {
	opts.Token = cmp.Or(opts.Token, TokenEndpoint)
	opts.Metadata = strings.TrimRight(cmp.Or(opts.Metadata, MetadataEndpoint), "/")
	if len(opts.Scopes) == 0 {
		return nil, errors.New("key: no scope is asked for")
	}
	if opts.Key == "" {
		client, err := metadataClient(opts.Metadata)
		return &Tokens{opts: opts, http: client}, err
	}
	account, err := cloud.ReadAccount([]byte(opts.Key))
	if err != nil {
		return nil, connectors.WithHint(fmt.Errorf("key: %w", err), "Create a key of a service account in the Google Cloud console, of the kind JSON, and set the secret to the whole file")
	}
	// The claim goes where the host says, whatever the key does.
	if account.TokenURI != "" && account.TokenURI != opts.Token {
		return nil, fmt.Errorf("key: its token_uri is not %s", opts.Token)
	}
	return &Tokens{opts: opts, account: account, http: rest.New().Through(opts.Proxy, opts.Roots)}, nil
}

// metadataClient speaks to the one address of the metadata server, through no
// proxy, and gives up soon: elsewhere nobody answers there.
func metadataClient(endpoint string) (*rest.Client, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("metadata: not an address")
	}
	client := rest.Only(u.Hostname())
	client.Tries = 2
	return client, nil
}

// Who names the account for messages.
func (t *Tokens) Who() string {
	if t.account == nil {
		return "the service account of this machine"
	}
	return rest.Short(t.account.Email)
}

// Project is that of the key; empty for the machine's account.
func (t *Tokens) Project() string {
	if t.account == nil {
		return ""
	}
	return t.account.Project
}

// Close gives back the connections that are idle.
func (t *Tokens) Close() { t.http.Close() }

// Get gives a token that lasts for another minute at least.
func (t *Tokens) Get(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token != "" && time.Until(t.until) > spare {
		return t.token, nil
	}
	ask := t.fromMachine
	if t.account != nil {
		ask = t.fromKey
	}
	answer, err := ask(ctx)
	if err != nil {
		return "", err
	}
	until, err := answer.Until(time.Now())
	if err != nil {
		return "", fmt.Errorf("ask for a token of %s: %w", t.Who(), err)
	}
	t.token, t.until = answer.Value, until
	return t.token, nil
}

// Drop forgets a token that a service refused; another that came meanwhile stays.
func (t *Tokens) Drop(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == token {
		t.token = ""
	}
}

// DropAll forgets what token there is.
func (t *Tokens) DropAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.token = ""
}

// Sign puts a token into a request.
func (t *Tokens) Sign(ctx context.Context, r *http.Request) error {
	token, err := t.Get(ctx)
	if err == nil {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return err
}

// fromKey trades a signed claim for a token (RFC 7523).
func (t *Tokens) fromKey(ctx context.Context) (got cloud.Token, err error) {
	form, err := t.account.Claim(strings.Join(t.opts.Scopes, " "), t.opts.Token, time.Now())
	if err != nil {
		return got, errors.New("sign a claim with the key of the service account: the key does not sign")
	}
	err = t.http.Do(ctx, func(ctx context.Context) (*http.Request, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.opts.Token, strings.NewReader(form.Encode()))
		if err == nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return r, err
	}, rest.JSON(&got, maxAnswer))
	switch rest.Code(err) {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		err = connectors.WithHint(err, "See that the key of "+t.Who()+" was not deleted or disabled, and that the clock of this host is right")
	}
	if err != nil {
		err = fmt.Errorf("ask for a token of %s: %w", t.Who(), err)
	}
	return got, err
}

// fromMachine asks the metadata server. One that does not show its flavour is
// something else at that address.
func (t *Tokens) fromMachine(ctx context.Context) (got cloud.Token, err error) {
	address := t.opts.Metadata + "/computeMetadata/v1/instance/service-accounts/default/token?scopes=" + url.QueryEscape(strings.Join(t.opts.Scopes, ","))
	err = t.http.Do(ctx, func(ctx context.Context) (*http.Request, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err == nil {
			r.Header.Set("Metadata-Flavor", "Google")
		}
		return r, err
	}, func(answer *http.Response) error {
		if answer.Header.Get("Metadata-Flavor") != "Google" {
			return rest.Permanent(errors.New("what answers there is not Google's metadata server"))
		}
		return rest.JSON(&got, maxAnswer)(answer)
	})
	if err != nil {
		err = connectors.WithHint(fmt.Errorf("ask for a token of %s: %w", t.Who(), err),
			"This host is no VM of Google's with a service account, or its metadata is out of reach: set the key of a service account")
	}
	return got, err
}
