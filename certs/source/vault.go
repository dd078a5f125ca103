package source

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/certs/cloud"
)

var vaultPathRegexp = regexp.MustCompile(`^[A-Za-z0-9_.@+=-]+(/[A-Za-z0-9_.@+= -]+)*$`)

func checkVault(r *Ref) error {
	v, said := r.query["version"]
	switch {
	case !vaultPathRegexp.MatchString(r.place) || !vaultPathRegexp.MatchString(r.path):
		return invalid("it names no mount and path; write vault://MOUNT/PATH?field=FIELD")
	case said && !generationRegexp.MatchString(v):
		return invalid("its version is not a number")
	}
	return nil
}

// fetchVault reads a field of a secret of Vault's key-value store, version 2.
func fetchVault(ctx context.Context, j *job) (Blob, error) {
	path := "/v1/" + escapePath(j.ref.place) + "/data/" + escapePath(j.ref.path)
	if v := j.ref.query["version"]; v != "" {
		path += "?version=" + v
	}
	a, c, err := j.vaultGet(ctx, path)
	b := Blob{Date: a.date}
	if err != nil {
		return b, err
	}
	var got struct {
		Data struct {
			Data     map[string]json.RawMessage `json:"data"`
			Metadata struct {
				Version   json.Number `json:"version"`
				Deleted   string      `json:"deletion_time"`
				Destroyed bool        `json:"destroyed"`
			} `json:"metadata"`
		} `json:"data"`
	}
	parsed := json.Unmarshal(a.body, &got) == nil
	meta := got.Data.Metadata
	switch {
	case a.status == http.StatusNotFound && parsed && (meta.Deleted != "" || meta.Destroyed):
		return b, fail(ErrNotFound, "version %s of the secret was deleted", plain(meta.Version.String(), nil))
	case a.status != http.StatusOK:
		return b, j.answered("Vault", a, vaultSays(a), "a policy of "+c.who+" must give read on "+j.ref.place+"/data/"+j.ref.path)
	case !parsed || got.Data.Data == nil:
		return b, fail(ErrWrongKind, "it is no secret of a key-value store of version 2; the first part of the path is where that is mounted")
	}
	b.Version = Version(meta.Version.String())
	b.Data, err = vaultField(got.Data.Data, j.ref.query["field"])
	return b, err
}

// vaultField takes the named field; the only one needs no name.
func vaultField(all map[string]json.RawMessage, field string) ([]byte, error) {
	if field == "" && len(all) == 1 {
		for name := range all {
			field = name
		}
	}
	if field == "" {
		return nil, fail(ErrWrongKind, "the secret has %d fields; add ?field=NAME", len(all))
	}
	data, err := json.Marshal(all)
	if err != nil {
		return nil, fail(ErrFailed, "read the secret of Vault")
	}
	return fieldOf(data, field)
}

func (j *job) vaultGet(ctx context.Context, path string) (answer, credential, error) {
	for try := 0; ; try++ {
		c, renewable, err := j.vaultToken(ctx)
		if err != nil {
			return answer{}, c, err
		}
		a, err := j.vaultAsk(ctx, http.MethodGet, path, nil, c.token)
		if err != nil || a.status != http.StatusForbidden || !renewable || try > 0 {
			return a, c, err
		}
		j.vault.drop(ctx, "vault") // it may have been revoked: a new login shows
	}
}

func (f *Fetcher) vaultAsk(ctx context.Context, method, path string, body []byte, token string) (answer, error) {
	address := strings.TrimSuffix(f.opts.Vault.Address, "/")
	if address == "" {
		return answer{}, fail(ErrRefused, "this host does not say where Vault is; set fetch.vault.address in its agent.yaml")
	}
	g, err := serviceGuard(address)
	if err != nil {
		return answer{}, err
	}
	q := question{who: "Vault", method: method, url: address + path, body: body, guard: g, hide: []string{token}, header: http.Header{"X-Vault-Request": {"true"}}}
	if token != "" {
		q.header.Set("X-Vault-Token", token)
	}
	if ns := f.opts.Vault.Namespace; ns != "" {
		q.header.Set("X-Vault-Namespace", ns)
	}
	return f.ask(ctx, q)
}

// vaultToken is the token of the file, or the one of a login by AppRole, which
// can be made again.
func (j *job) vaultToken(ctx context.Context) (credential, bool, error) {
	v := j.opts.Vault
	switch {
	case v.TokenFile != "":
		token, err := credentialFile(v.TokenFile)
		return credential{token, "the token in " + v.TokenFile}, false, err
	case v.RoleIDFile == "" || v.SecretIDFile == "":
		return credential{}, false, fail(ErrRefused, "this host has no login for Vault; give it a token file, or the role ID and secret ID of an AppRole")
	}
	c, err := j.vault.get(ctx, "vault", j.opts.Now, j.vaultLogin)
	return c, true, err
}

func (j *job) vaultLogin(ctx context.Context) (none credential, now time.Time, err error) {
	v := j.opts.Vault
	now = j.opts.Now()
	role, err := credentialFile(v.RoleIDFile)
	if err != nil {
		return none, now, err
	}
	secret, err := credentialFile(v.SecretIDFile)
	if err != nil {
		return none, now, err
	}
	body, err := json.Marshal(map[string]string{"role_id": role, "secret_id": secret})
	if err != nil {
		return none, now, fail(ErrFailed, "write a login to Vault")
	}
	mount := v.AppRolePath
	if mount == "" {
		mount = "approle"
	}
	a, err := j.vaultAsk(ctx, http.MethodPost, "/v1/auth/"+escapePath(mount)+"/login", body, "")
	a.hide = append(a.hide, role, secret)
	if err != nil {
		return none, now, err
	}
	if a.status == http.StatusBadRequest {
		return none, now, fail(ErrForbidden, "Vault does not take the AppRole: %s; its secret ID may have ended", plain(vaultSays(a), a.hide))
	}
	if a.status != http.StatusOK {
		return none, now, j.answered("Vault", a, vaultSays(a), "the AppRole may not log in")
	}
	var got struct {
		Auth struct {
			Token string        `json:"client_token"`
			Lasts cloud.Seconds `json:"lease_duration"`
		} `json:"auth"`
	}
	if err := a.decode("Vault", &got); err != nil {
		return none, now, err
	}
	if got.Auth.Lasts == 0 { // it does not end
		got.Auth.Lasts = 3600
	}
	return tokenOf(cloud.Token{Value: got.Auth.Token, Life: got.Auth.Lasts}, "the AppRole "+strconv.Quote(mount), now)
}

func credentialFile(name string) (string, error) {
	data, err := readHostFile(name, true)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(data))
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return "", fail(ErrRefused, "%s holds no credential on one line", name)
	}
	return text, nil
}

func vaultSays(a answer) string {
	var e struct {
		Errors []string `json:"errors"`
	}
	if json.Unmarshal(a.body, &e) != nil {
		return ""
	}
	return strings.Join(e.Errors, "; ")
}
