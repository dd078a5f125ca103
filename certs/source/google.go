package source

import (
	"context"
	"encoding/json"
	"hash/crc32"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/fairlead/fairlead/certs/cloud"
)

const googleScope = "https://www.googleapis.com/auth/cloud-platform"

var (
	projectRegexp = regexp.MustCompile(`^([a-z0-9][a-z0-9.-]{1,60}:)?[a-z0-9][a-z0-9-]{4,62}$`)
	mailRegexp    = regexp.MustCompile(`^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,253}$`)
)

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

// tokenOf makes a credential of what a token service answered.
func tokenOf(t cloud.Token, who string, now time.Time) (credential, time.Time, error) {
	until, err := t.Until(now)
	if err != nil {
		return credential{}, now, fail(ErrFailed, "%s answers without a token", who)
	}
	return credential{token: t.Value, who: who}, until, nil
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
	var t cloud.Token
	if err := a.decode("Google's metadata server", &t); err != nil {
		return credential{}, now, err
	}
	who := "the service account of this VM"
	// What it says goes into messages: only an address does.
	if mail, err := f.googleVM(ctx, "instance/service-accounts/default/email"); err == nil && mail.status == http.StatusOK && mailRegexp.Match(mail.body) {
		who = string(mail.body)
	}
	return tokenOf(t, who, now)
}

func readServiceAccount(file string) (*cloud.Account, error) {
	data, err := readHostFile(file, true)
	if err != nil {
		return nil, err
	}
	sa, err := cloud.ReadAccount(data)
	if err != nil {
		return nil, fail(ErrRefused, "%s %s", file, err)
	}
	return sa, nil
}

// googleKeyToken trades a signed claim for a token (RFC 7523). The claim goes
// to the configured endpoint only, whatever the file says.
func (f *Fetcher) googleKeyToken(ctx context.Context, file string) (credential, time.Time, error) {
	now := f.opts.Now()
	sa, err := readServiceAccount(file)
	if err != nil {
		return credential{}, now, err
	}
	endpoint := f.opts.Endpoints.GoogleToken
	if sa.TokenURI != "" && sa.TokenURI != endpoint {
		return credential{}, now, fail(ErrRefused, "%s sends its claims to a token_uri that is not %s", file, endpoint)
	}
	form, err := sa.Claim(googleScope, endpoint, now)
	if err != nil {
		return credential{}, now, fail(ErrFailed, "sign a claim with the key of the service account")
	}
	g, err := serviceGuard(endpoint)
	if err != nil {
		return credential{}, now, err
	}
	const who = "Google's token service"
	a, err := f.ask(ctx, question{who: who, method: http.MethodPost, url: endpoint, body: []byte(form.Encode()), hide: form["assertion"],
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
	var t cloud.Token
	if err := a.decode(who, &t); err != nil {
		return credential{}, now, err
	}
	return tokenOf(t, plain(sa.Email, nil), now)
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
		sa, err := readServiceAccount(file)
		if err != nil {
			return "", err
		}
		if sa.Project != "" {
			return sa.Project, nil
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
