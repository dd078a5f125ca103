package source

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/fairlead/fairlead/certs/cloud"
)

// awsCredentials sign requests.
type awsCredentials struct {
	cloud.Keys
	who string
}

var roleRegexp = regexp.MustCompile(`^[A-Za-z0-9+=,.@_-]{1,128}$`)

// region is the one of the reference, of the daemon's environment or of the VM.
func (j *job) region(ctx context.Context) (string, error) {
	if r := j.ref.query["region"]; r != "" {
		return r, nil
	}
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if r, ok := j.opts.Env(name); ok && regionRegexp.MatchString(r) {
			return r, nil
		}
	}
	a, err := j.awsVM(ctx, "placement/region")
	if err != nil {
		return "", err
	}
	if r := strings.TrimSpace(string(a.body)); a.status == http.StatusOK && regionRegexp.MatchString(r) {
		return r, nil
	}
	return "", fail(ErrFailed, "the VM does not say its region; add ?region=REGION")
}

// awsIdentity are credentials from the environment, from a web identity, or
// from the role of the VM, in this order, as Amazon's tools look for them.
func (j *job) awsIdentity(ctx context.Context, region string) (awsCredentials, error) {
	id, _ := j.opts.Env("AWS_ACCESS_KEY_ID")
	secret, _ := j.opts.Env("AWS_SECRET_ACCESS_KEY")
	if id != "" && secret != "" {
		token, _ := j.opts.Env("AWS_SESSION_TOKEN")
		return awsCredentials{cloud.Keys{ID: id, Secret: secret, Session: token}, "the access key " + plain(id, nil)}, nil
	}
	return j.aws.get(ctx, "aws", j.opts.Now, func(ctx context.Context) (awsCredentials, time.Time, error) {
		file, _ := j.opts.Env("AWS_WEB_IDENTITY_TOKEN_FILE")
		role, _ := j.opts.Env("AWS_ROLE_ARN")
		if file != "" && role != "" {
			return j.awsWebIdentity(ctx, region, file, role)
		}
		return j.awsRole(ctx)
	})
}

// awsVM asks the metadata service of the VM by its second version only: the
// first one answers to whoever can make this machine send a GET.
func (j *job) awsVM(ctx context.Context, path string) (answer, error) {
	const who = "the metadata service of AWS"
	const hint = "this is no VM of AWS, or containers may not reach its metadata (raise the hop limit to 2); or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	base := j.opts.Endpoints.AWSMetadata + "/latest/"
	g, err := metadataGuard(base)
	if err != nil {
		return answer{}, err
	}
	t, err := j.ask(ctx, question{who: who, method: http.MethodPut, url: base + "api/token", twice: true, guard: g, direct: true, quick: true, limit: 64 << 10,
		header: http.Header{"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": {"300"}}})
	if err != nil {
		return answer{}, noIdentity(err, hint)
	}
	token := strings.TrimSpace(string(t.body))
	if t.status != http.StatusOK || token == "" || strings.ContainsFunc(token, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return answer{}, fail(ErrForbidden, "%s gives no session (%d): it speaks version 1 only, which is not used; switch IMDSv2 on", who, t.status)
	}
	a, err := j.ask(ctx, question{who: who, method: http.MethodGet, url: base + "meta-data/" + path, guard: g, direct: true, quick: true, limit: 64 << 10,
		header: http.Header{"X-Aws-Ec2-Metadata-Token": {token}}, hide: []string{token}})
	if err != nil {
		return answer{}, noIdentity(err, hint)
	}
	return a, nil
}

func (j *job) awsRole(ctx context.Context) (none awsCredentials, until time.Time, err error) {
	const who = "the metadata service of AWS"
	a, err := j.awsVM(ctx, "iam/security-credentials/")
	if err != nil {
		return none, until, err
	}
	role, _, _ := strings.Cut(strings.TrimSpace(string(a.body)), "\n")
	if role = strings.TrimSpace(role); a.status != http.StatusOK || !roleRegexp.MatchString(role) {
		return none, until, fail(ErrForbidden, "the VM has no role; attach an instance profile to it")
	}
	if a, err = j.awsVM(ctx, "iam/security-credentials/"+url.PathEscape(role)); err != nil {
		return none, until, err
	}
	if a.status != http.StatusOK {
		return none, until, j.answered(who, a, "", "")
	}
	var got struct {
		Code, AccessKeyId, SecretAccessKey, Token string
		Expiration                                time.Time
	}
	if err := a.decode(who, &got); err != nil {
		return none, until, err
	}
	if got.Code != "Success" || got.AccessKeyId == "" || got.SecretAccessKey == "" {
		return none, until, fail(ErrForbidden, "%s gives no credentials for the role %s: %s", who, role, plain(got.Code, nil))
	}
	return awsCredentials{cloud.Keys{ID: got.AccessKeyId, Secret: got.SecretAccessKey, Session: got.Token}, "the role " + role}, got.Expiration, nil
}

// awsWebIdentity trades the token of another issuer for credentials of a role.
func (j *job) awsWebIdentity(ctx context.Context, region, file, role string) (none awsCredentials, until time.Time, err error) {
	const who = "the token service of AWS"
	token, err := readHostFile(file, false)
	if err != nil {
		return none, until, err
	}
	endpoint := inRegion(j.opts.Endpoints.STS, region)
	g, err := serviceGuard(endpoint)
	if err != nil {
		return none, until, err
	}
	jwt := strings.TrimSpace(string(token))
	form := url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {role},
		"RoleSessionName": {"fairlead"}, "WebIdentityToken": {jwt}}
	a, err := j.ask(ctx, question{who: who, method: http.MethodPost, url: endpoint + "/", body: []byte(form.Encode()), hide: []string{jwt}, guard: g,
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, limit: 64 << 10})
	if err != nil {
		return none, until, err
	}
	if a.status != http.StatusOK {
		code, says := awsXML(a)
		if a.status == http.StatusBadRequest && code != "Throttling" {
			return none, until, fail(ErrForbidden, "%s does not let the web identity take the role %s: %s", who, plain(role, nil), plain(says, a.hide))
		}
		return none, until, j.answered(who, a, says, "the trust policy of the role "+plain(role, nil)+" does not name the web identity")
	}
	var got struct {
		Credentials struct {
			AccessKeyId, SecretAccessKey, SessionToken string
			Expiration                                 time.Time
		} `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
	}
	if err := xml.Unmarshal(a.body, &got); err != nil || got.Credentials.AccessKeyId == "" || got.Credentials.SecretAccessKey == "" {
		return none, until, fail(ErrFailed, "%s answers without credentials", who)
	}
	c := got.Credentials
	return awsCredentials{cloud.Keys{ID: c.AccessKeyId, Secret: c.SecretAccessKey, Session: c.SessionToken}, "the role " + plain(role, nil)}, c.Expiration, nil
}

// awsXML is code and message of an error of S3 or STS.
func awsXML(a answer) (code, says string) {
	var e struct {
		Code    string `xml:"Code"`
		Message string `xml:"Message"`
		Error   struct {
			Code    string `xml:"Code"`
			Message string `xml:"Message"`
		} `xml:"Error"`
	}
	if xml.Unmarshal(a.body, &e) != nil {
		return "", ""
	}
	if e.Code == "" {
		e.Code, e.Message = e.Error.Code, e.Error.Message
	}
	if e.Code == "" {
		return "", ""
	}
	return e.Code, e.Code + ", " + e.Message
}
