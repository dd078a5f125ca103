package source

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"hash/crc32"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

const googleScope = "https://www.googleapis.com/auth/cloud-platform"

var projectRegexp = regexp.MustCompile(`^([a-z0-9][a-z0-9.-]{1,60}:)?[a-z0-9][a-z0-9-]{4,62}$`)

func crc32c(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }

// googleGet asks one of Google's services, and once more with a new token when
// it does not take the one that was kept.
func (j *job) googleGet(ctx context.Context, who, endpoint, path string, limit int64) (answer, credential, error) {
	g, err := serviceGuard(endpoint)
	if err != nil {
		return answer{}, credential{}, err
	}
	for try := 0; ; try++ {
		c, err := j.googleToken(ctx)
		if err != nil {
			return answer{}, c, err
		}
		a, err := j.ask(ctx, question{who: who, method: http.MethodGet, url: strings.TrimSuffix(endpoint, "/") + path, limit: limit,
			header: http.Header{"Authorization": {"Bearer " + c.token}}, hide: []string{c.token}, guard: g})
		if err != nil || a.status != http.StatusUnauthorized || try > 0 {
			return a, c, err
		}
		j.google.drop(ctx, "google")
	}
}

func (f *Fetcher) googleToken(ctx context.Context) (credential, error) {
	return f.google.get(ctx, "google", f.opts.Now, func(ctx context.Context) (credential, time.Time, error) {
		file := f.opts.Google.CredentialsFile
		if file == "" {
			file, _ = f.opts.Env("GOOGLE_APPLICATION_CREDENTIALS")
		}
		if file != "" {
			return f.googleKeyToken(ctx, file)
		}
		return f.googleVMToken(ctx)
	})
}

// tokenAnswer is a token as RFC 6749 section 5.1 has it.
type tokenAnswer struct {
	Token   string `json:"access_token"`
	Expires int64  `json:"expires_in"`
}

func (t tokenAnswer) credential(who string, now time.Time) (credential, time.Time, error) {
	if t.Token == "" || strings.ContainsFunc(t.Token, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return credential{}, now, fail(ErrFailed, "%s answers without a token", who)
	}
	return credential{token: t.Token, who: who}, now.Add(time.Duration(min(t.Expires, 86400)) * time.Second), nil
}

// googleVM asks the metadata server of the VM. One that does not show its
// flavour is something else at that address.
func (f *Fetcher) googleVM(ctx context.Context, path string) (answer, error) {
	g, err := metadataGuard(f.opts.Endpoints.GoogleMetadata)
	if err != nil {
		return answer{}, err
	}
	const who = "Google's metadata server"
	a, err := f.ask(ctx, question{who: who, method: http.MethodGet, url: f.opts.Endpoints.GoogleMetadata + "/computeMetadata/v1/" + path,
		header: http.Header{"Metadata-Flavor": {"Google"}}, guard: g, direct: true, quick: true, limit: 64 << 10})
	if err != nil {
		return a, noIdentity(err, "this is no VM of Google's, or it has no service account; give the daemon the key of one in GOOGLE_APPLICATION_CREDENTIALS")
	}
	if a.header.Get("Metadata-Flavor") != "Google" {
		return a, fail(ErrForbidden, "what answers at the address of %s is not it", who)
	}
	return a, nil
}

// noIdentity adds to an unreachable metadata service what that may mean.
func noIdentity(err error, hint string) error {
	return fail(classOf(err), "%s; %s", err, hint)
}

func (f *Fetcher) googleVMToken(ctx context.Context) (credential, time.Time, error) {
	now := f.opts.Now()
	a, err := f.googleVM(ctx, "instance/service-accounts/default/token?scopes="+url.QueryEscape(googleScope))
	if err != nil {
		return credential{}, now, err
	}
	if a.status == http.StatusNotFound {
		return credential{}, now, fail(ErrForbidden, "the VM has no service account; attach one to it")
	}
	if a.status != http.StatusOK {
		return credential{}, now, (&job{Fetcher: f}).answered("Google's metadata server", a, "", "")
	}
	var t tokenAnswer
	if err := a.decode("Google's metadata server", &t); err != nil {
		return credential{}, now, err
	}
	who := "the service account of this VM"
	if mail, err := f.googleVM(ctx, "instance/service-accounts/default/email"); err == nil && mail.status == http.StatusOK {
		who = plain(string(mail.body), nil)
	}
	return t.credential(who, now)
}

// serviceAccount is what is read of the key file of a service account.
type serviceAccount struct {
	Type     string `json:"type"`
	Email    string `json:"client_email"`
	KeyID    string `json:"private_key_id"`
	Key      string `json:"private_key"`
	TokenURI string `json:"token_uri"`
	Project  string `json:"project_id"`
}

func readServiceAccount(file string) (serviceAccount, *rsa.PrivateKey, error) {
	var sa serviceAccount
	data, err := readHostFile(file, true)
	if err != nil {
		return sa, nil, err
	}
	if json.Unmarshal(data, &sa) != nil || sa.Type != "service_account" {
		return sa, nil, fail(ErrRefused, "%s is not the key of a service account, the only kind of Google's credentials that is read", file)
	}
	block, _ := pem.Decode([]byte(sa.Key))
	if block == nil {
		return sa, nil, fail(ErrRefused, "%s holds no private key", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if signer, ok := key.(*rsa.PrivateKey); err == nil && ok {
		return sa, signer, nil
	}
	return sa, nil, fail(ErrRefused, "the private key in %s does not parse", file)
}

// googleKeyToken trades a signed claim for a token (RFC 7523). The claim goes
// to the configured endpoint only, whatever the file says.
func (f *Fetcher) googleKeyToken(ctx context.Context, file string) (credential, time.Time, error) {
	now := f.opts.Now()
	sa, key, err := readServiceAccount(file)
	if err != nil {
		return credential{}, now, err
	}
	endpoint := f.opts.Endpoints.GoogleToken
	if sa.TokenURI != "" && sa.TokenURI != endpoint {
		return credential{}, now, fail(ErrRefused, "%s sends its claims to a token_uri that is not %s", file, endpoint)
	}
	claim, err := signedClaim(sa, key, endpoint, now)
	if err != nil {
		return credential{}, now, err
	}
	g, err := serviceGuard(endpoint)
	if err != nil {
		return credential{}, now, err
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {claim}}
	const who = "Google's token service"
	a, err := f.ask(ctx, question{who: who, method: http.MethodPost, url: endpoint, body: []byte(form.Encode()), hide: []string{claim},
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, guard: g, limit: 64 << 10})
	if err != nil {
		return credential{}, now, err
	}
	if a.status == http.StatusBadRequest || a.status == http.StatusUnauthorized {
		return credential{}, now, fail(ErrForbidden, "%s does not take the key of %s: %s; it may be disabled, or the clock of this host wrong", who, plain(sa.Email, nil), googleSays(a))
	}
	if a.status != http.StatusOK {
		return credential{}, now, (&job{Fetcher: f}).answered(who, a, googleSays(a), "")
	}
	var t tokenAnswer
	if err := a.decode(who, &t); err != nil {
		return credential{}, now, err
	}
	return t.credential(plain(sa.Email, nil), now)
}

func signedClaim(sa serviceAccount, key *rsa.PrivateKey, audience string, now time.Time) (string, error) {
	head, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": sa.KeyID})
	if err != nil {
		return "", fail(ErrFailed, "write a claim")
	}
	body, err := json.Marshal(map[string]any{"iss": sa.Email, "scope": googleScope, "aud": audience,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
	if err != nil {
		return "", fail(ErrFailed, "write a claim")
	}
	enc := base64.RawURLEncoding.EncodeToString
	text := enc(head) + "." + enc(body)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fail(ErrFailed, "sign a claim with the key of the service account")
	}
	return text + "." + enc(sig), nil
}

// googleSays is the message of an error of Google's, in either of its forms.
func googleSays(a answer) string {
	var api struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(a.body, &api) == nil && api.Error.Message != "" {
		return plain(api.Error.Message, a.hide)
	}
	var oauth struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(a.body, &oauth) == nil && oauth.Error != "" {
		return plain(oauth.Error+" "+oauth.Description, a.hide)
	}
	return ""
}

// googleProject is the project of a reference that names none.
func (j *job) googleProject(ctx context.Context) (string, error) {
	if p := j.opts.Google.Project; p != "" {
		return p, nil
	}
	file := j.opts.Google.CredentialsFile
	if file == "" {
		file, _ = j.opts.Env("GOOGLE_APPLICATION_CREDENTIALS")
	}
	if file != "" {
		sa, _, err := readServiceAccount(file)
		if err != nil || sa.Project != "" {
			return sa.Project, err
		}
	}
	a, err := j.googleVM(ctx, "project/project-id")
	if err != nil {
		return "", err
	}
	if p := strings.TrimSpace(string(a.body)); a.status == http.StatusOK && projectRegexp.MatchString(p) {
		return p, nil
	}
	return "", fail(ErrFailed, "Google's metadata server does not say the project of this VM; write sm://PROJECT/NAME")
}
