package source_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs/source"
)

// amazon speaks what the documentation of EC2's metadata service, STS, S3 and
// Secrets Manager says, and checks each signature over what came by the wire.
type amazon struct {
	*fake
	t  *testing.T
	id atomic.Pointer[[3]string] // credentials that are taken now
}

const (
	imdsToken = "/latest/api/token"
	imdsRoles = "/latest/meta-data/iam/security-credentials/"
	s3Object  = "/acme-pki/edge/chain one.pem"
	s3Ref     = "s3://acme-pki/edge/chain%20one.pem"
)

func newAmazon(t *testing.T) *amazon {
	a := &amazon{fake: newFake(t, false), t: t}
	a.id.Store(&[3]string{"ASIAFIRST", "first+secret", "first/token"})
	a.on(imdsToken, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut || r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") == "" || r.Header.Get("X-Forwarded-For") != "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = w.Write([]byte("session1"))
	})
	a.meta("/latest/meta-data/placement/region", func() string { return "eu-central-1" })
	a.meta(imdsRoles, func() string { return "acme-vm" })
	a.meta(imdsRoles+"acme-vm", func() string {
		id := *a.id.Load()
		return fmt.Sprintf(`{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":%q,"SecretAccessKey":%q,"Token":%q,"Expiration":%q}`,
			id[0], id[1], id[2], time.Now().Add(6*time.Hour).UTC().Format(time.RFC3339))
	})
	return a
}

func (a *amazon) meta(path string, text func() string) {
	a.on(path, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-aws-ec2-metadata-token") != "session1" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = fmt.Fprint(w, text())
	})
}

// signed lets requests through that are signed with the credentials of now.
func (a *amazon) signed(service, expired string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := *a.id.Load()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(400)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if r.Header.Get("X-Amz-Security-Token") != id[2] {
			w.WriteHeader(400)
			_, _ = fmt.Fprint(w, expired)
			return
		}
		if want, err := source.SignatureOf(r, body, id, "eu-central-1", service); err != nil || want != r.Header.Get("Authorization") {
			w.WriteHeader(403)
			_, _ = fmt.Fprintf(w, `<Error><Code>SignatureDoesNotMatch</Code><Message>want %s, got %s</Message></Error>`, want, r.Header.Get("Authorization"))
			return
		}
		h(w, r)
	}
}

const (
	s3ExpiredXML   = `<?xml version="1.0"?><Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>`
	awsExpiredJSON = `{"__type":"com.amazonaws#ExpiredTokenException","message":"The security token included in the request is expired"}`
)

func (a *amazon) client(env func(string) (string, bool)) *source.Fetcher {
	return source.New(source.Options{Env: env, Endpoints: source.Endpoints{AWSMetadata: a.URL, STS: a.URL + "/sts", S3: a.URL, SecretsManager: a.URL + "/secrets/{region}"}})
}

func TestS3(t *testing.T) {
	chain, _ := pair(t)
	a := newAmazon(t)
	a.on(s3Object, a.signed("s3", s3ExpiredXML, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"abc"`)
		if r.Header.Get("If-None-Match") == `"abc"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		if v := r.URL.Query().Get("versionId"); v != "" && v != "v+1/=" {
			w.WriteHeader(404)
			return
		}
		_, _ = w.Write(chain)
	}))
	s := a.client(noEnv).For(source.Use{})
	b := get(t, s, s3Ref, "")
	if !bytes.Equal(b.Data, chain) || !get(t, s, s3Ref, b.Version).NotModified {
		t.Error("the object is another, or new every time")
	}
	get(t, s, s3Ref+"?region=eu-central-1&version=v%2B1/=", "")
	if n := a.count("GET " + imdsRoles + "acme-vm"); n != 1 {
		t.Errorf("credentials were fetched %d times", n)
	}
	a.id.Store(&[3]string{"ASIASECOND", "second+secret", "second/token"}) // the first have ended
	get(t, s, s3Ref, "")
	if n := a.count("GET " + imdsRoles + "acme-vm"); n != 2 {
		t.Errorf("credentials were fetched %d times", n)
	}
	a.id.Store(&[3]string{"AKIAUSER", "user+secret", ""})
	env := envOf("AWS_ACCESS_KEY_ID", "AKIAUSER", "AWS_SECRET_ACCESS_KEY", "user+secret", "AWS_REGION", "eu-central-1")
	get(t, a.client(env).For(source.Use{}), s3Ref, "")
	if n := a.count("GET " + imdsRoles + "acme-vm"); n != 2 {
		t.Error("the role was asked although there is a key")
	}
}

func TestS3Errors(t *testing.T) {
	a := newAmazon(t)
	s := a.client(noEnv).For(source.Use{})
	for name, c := range map[string]struct {
		status int
		code   string
		class  error
		words  []string
	}{
		"denied":        {403, "AccessDenied", source.ErrForbidden, []string{"s3:GetObject on arn:aws:s3:::acme-pki/edge/chain one.pem to the role acme-vm", "s3:ListBucket"}},
		"no key":        {404, "NoSuchKey", source.ErrNotFound, []string{"NoSuchKey"}},
		"no bucket":     {404, "NoSuchBucket", source.ErrNotFound, []string{"no bucket"}},
		"clock":         {403, "RequestTimeTooSkewed", source.ErrForbidden, []string{"NTP"}},
		"other region":  {301, "PermanentRedirect", source.ErrFailed, []string{"us-west-2", "?region="}},
		"wrong region":  {400, "AuthorizationHeaderMalformed", source.ErrFailed, []string{"?region="}},
		"slow down":     {503, "SlowDown", source.ErrUnreachable, []string{"SlowDown"}},
		"limited":       {429, "TooManyRequests", source.ErrUnreachable, []string{"1m0s"}},
		"always ended":  {400, "ExpiredToken", source.ErrForbidden, []string{"the role acme-vm"}},
		"bad signature": {403, "SignatureDoesNotMatch", source.ErrForbidden, []string{"SignatureDoesNotMatch"}},
	} {
		t.Run(name, func(t *testing.T) {
			a.on(s3Object, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Amz-Bucket-Region", "us-west-2")
				w.WriteHeader(c.status)
				_, _ = fmt.Fprintf(w, `<Error><Code>%s</Code><Message>because %s %s</Message></Error>`, c.code, r.Header.Get("Authorization"), r.Header.Get("X-Amz-Security-Token"))
			})
			err := fails(t, s, s3Ref, c.class, c.words...)
			hides(t, err, "first/token", "first+secret")
			if _, sig, ok := strings.Cut(err.Error(), "Signature="); ok && len(sig) > 15 && !strings.HasPrefix(sig, "(hidden)") {
				t.Errorf("it shows the signature: %v", err)
			}
		})
	}
	a.says(s3Object, 200, strings.Repeat("x", source.MaxSize+1))
	fails(t, s, s3Ref, source.ErrTooLarge)
}

func TestAWSMetadata(t *testing.T) {
	for name, c := range map[string]struct {
		path  string
		say   http.HandlerFunc
		class error
		words []string
	}{
		"version 1 only": {imdsToken, code(405), source.ErrForbidden, []string{"IMDSv2"}},
		"no such path":   {imdsToken, code(404), source.ErrForbidden, []string{"IMDSv2"}},
		"empty token":    {imdsToken, said(""), source.ErrForbidden, []string{"IMDSv2"}},
		"torn":           {imdsToken, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, source.ErrUnreachable, []string{"hop limit"}},
		"no role":        {imdsRoles, code(404), source.ErrForbidden, []string{"instance profile"}},
		"odd role":       {imdsRoles, said("../../x"), source.ErrForbidden, []string{"instance profile"}},
		"failed":         {imdsRoles + "acme-vm", said(`{"Code":"AssumeRoleUnauthorizedAccess"}`), source.ErrForbidden, []string{"AssumeRoleUnauthorizedAccess"}},
		"odd region":     {"/latest/meta-data/placement/region", said("x.evil.com/"), source.ErrFailed, []string{"?region="}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAmazon(t)
			a.on(c.path, c.say)
			fails(t, a.client(noEnv).For(source.Use{}), s3Ref, c.class, c.words...)
			if strings.Contains(name, "version 1") && a.count("GET "+imdsRoles) > 0 {
				t.Error("version 1 was asked")
			}
		})
	}
}

func TestAWSWebIdentity(t *testing.T) {
	chain, _ := pair(t)
	a := newAmazon(t)
	a.on(s3Object, a.signed("s3", s3ExpiredXML, said(string(chain))))
	a.on("/sts/", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("Action") != "AssumeRoleWithWebIdentity" || r.FormValue("Version") != "2011-06-15" || r.FormValue("WebIdentityToken") != "the.jwt.here" {
			w.WriteHeader(400)
			_, _ = fmt.Fprintf(w, `<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code><Message>not %s</Message></Error></ErrorResponse>`, r.FormValue("WebIdentityToken"))
			return
		}
		if r.FormValue("RoleArn") != "arn:aws:iam::1:role/acme" {
			w.WriteHeader(403)
			_, _ = fmt.Fprint(w, `<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>`)
			return
		}
		id := *a.id.Load()
		_, _ = fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
<SessionToken>%s</SessionToken><SecretAccessKey>%s</SecretAccessKey><Expiration>%s</Expiration><AccessKeyId>%s</AccessKeyId></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, id[2], id[1], time.Now().Add(time.Hour).UTC().Format(time.RFC3339), id[0])
	})
	jwt := write(t, "token", []byte("the.jwt.here\n"), 0o644)
	env := func(role string) func(string) (string, bool) {
		return envOf("AWS_WEB_IDENTITY_TOKEN_FILE", jwt, "AWS_ROLE_ARN", role, "AWS_DEFAULT_REGION", "eu-central-1")
	}
	get(t, a.client(env("arn:aws:iam::1:role/acme")).For(source.Use{}), s3Ref, "")
	fails(t, a.client(env("arn:aws:iam::1:role/other")).For(source.Use{}), s3Ref, source.ErrForbidden, "trust policy", "role/other")
	if err := os.WriteFile(jwt, []byte("another.jwt"), 0o600); err != nil {
		t.Fatal(err)
	}
	hides(t, fails(t, a.client(env("arn:aws:iam::1:role/acme")).For(source.Use{}), s3Ref, source.ErrForbidden, "InvalidIdentityToken"), "another.jwt")
}

func TestSecretsManager(t *testing.T) {
	chain, key := pair(t)
	a := newAmazon(t)
	answer := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
			w.WriteHeader(400)
			return
		}
		switch string(body) {
		case `{"SecretId":"tls/edge"}`, `{"SecretId":"tls/edge","VersionStage":"AWSPREVIOUS"}`, `{"SecretId":"tls/edge","VersionId":"0001"}`:
			_, _ = fmt.Fprintf(w, `{"ARN":"arn:x","Name":"tls/edge","VersionId":"0001","SecretString":%q,"VersionStages":["AWSCURRENT"],"CreatedDate":1.7E9}`, key)
		case `{"SecretId":"arn:aws:secretsmanager:eu-central-1:1:secret:bin-AbCdEf"}`:
			_, _ = fmt.Fprintf(w, `{"VersionId":"0002","SecretBinary":%q}`, base64.StdEncoding.EncodeToString(key))
		case `{"SecretId":"tls/both"}`:
			_, _ = fmt.Fprintf(w, `{"VersionId":"0003","SecretString":%q}`, fmt.Sprintf(`{"chain":%q,"key":%q,"n":1}`, chain, key))
		default:
			w.WriteHeader(400)
			_, _ = fmt.Fprint(w, `{"__type":"ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret."}`)
		}
	}
	a.on("/secrets/eu-central-1/", a.signed("secretsmanager", awsExpiredJSON, answer))
	f := a.client(noEnv)
	s := f.For(source.Use{Field: source.Key})
	for _, ref := range []string{"awssm://tls/edge", "awssm://tls/edge?stage=AWSPREVIOUS", "awssm://tls/edge?version=0001&region=eu-central-1",
		"awssm://arn:aws:secretsmanager:eu-central-1:1:secret:bin-AbCdEf", "awssm://tls/both?field=key"} {
		b := get(t, s, ref, "")
		if !bytes.Equal(b.Data, key) || !get(t, s, ref, b.Version).NotModified {
			t.Errorf("%s: another key, or new every time", ref)
		}
	}
	if b := get(t, f.For(source.Use{}), "awssm://tls/both?field=chain", ""); !bytes.Equal(b.Data, chain) {
		t.Error("another chain")
	}
	a.id.Store(&[3]string{"ASIASECOND", "second+secret", "second/token"})
	get(t, s, "awssm://tls/edge", "")
	fails(t, s, "awssm://none", source.ErrNotFound, "can't find")
	fails(t, s, "awssm://tls/both?field=none", source.ErrNotFound, "field")
	fails(t, s, "awssm://tls/both?field=n", source.ErrWrongKind, "not a text")
	fails(t, s, "awssm://tls/edge?field=key", source.ErrWrongKind, "not a JSON object")
	hides(t, fails(t, f.For(source.Use{}), "awssm://tls/both", source.ErrKeyInChain), "BEGIN")
	for kind, c := range map[string]struct {
		class error
		word  string
	}{
		"AccessDeniedException":     {source.ErrForbidden, "secretsmanager:GetSecretValue on tls/edge to the role acme-vm"},
		"DecryptionFailure":         {source.ErrForbidden, "kms:Decrypt"},
		"ThrottlingException":       {source.ErrUnreachable, "1m0s"},
		"InternalServiceError":      {source.ErrUnreachable, "trouble"},
		"InvalidSignatureException": {source.ErrForbidden, "NTP"},
		"ExpiredTokenException":     {source.ErrForbidden, "expired"},
		"InvalidRequestException":   {source.ErrNotFound, "expired"},
		"ValidationException":       {source.ErrFailed, "ValidationException"},
	} {
		a.says("/secrets/eu-central-1/", 400, strings.Replace(awsExpiredJSON, "ExpiredTokenException", kind, 1))
		fails(t, s, "awssm://tls/edge", c.class, c.word)
	}
}
