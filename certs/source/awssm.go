package source

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
)

var awsSecretRegexp = regexp.MustCompile(`^[A-Za-z0-9/_+=.@:-]{1,512}$`)

func checkAWSSM(r *Ref) error {
	if !awsSecretRegexp.MatchString(awsSecret(*r)) || strings.HasSuffix(r.path, "/") {
		return invalid("its secret has no name that Secrets Manager knows; write awssm://NAME or awssm://ARN")
	}
	return checkRegion(r)
}

func awsSecret(r Ref) string {
	if r.path == "" {
		return r.place
	}
	return r.place + "/" + r.path
}

// fetchAWSSM reads a secret of AWS Secrets Manager.
func fetchAWSSM(ctx context.Context, j *job) (Blob, error) {
	const who = "Secrets Manager"
	region, err := j.secretRegion(ctx)
	if err != nil {
		return Blob{}, err
	}
	ask := map[string]string{"SecretId": awsSecret(j.ref)}
	if v := j.ref.query["version"]; v != "" {
		ask["VersionId"] = v
	}
	if s := j.ref.query["stage"]; s != "" {
		ask["VersionStage"] = s
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return Blob{}, fail(ErrFailed, "write a question to %s", who)
	}
	endpoint := inRegion(j.opts.Endpoints.SecretsManager, region)
	a, c, err := j.awsAsk(ctx, question{who: who, method: http.MethodPost, url: endpoint + "/", body: body, twice: true, header: http.Header{
		"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {"secretsmanager.GetSecretValue"}}}, endpoint, region, "secretsmanager", awsExpired)
	b := Blob{Date: a.date}
	if err != nil {
		return b, err
	}
	if a.status != http.StatusOK {
		return b, j.awsRefused(who, a, c)
	}
	var got struct{ SecretString, SecretBinary, VersionId string }
	if err := a.decode(who, &got); err != nil {
		return b, err
	}
	b.Version, b.Data = Version(got.VersionId), []byte(got.SecretString)
	if got.SecretString == "" {
		if b.Data, err = base64.StdEncoding.DecodeString(got.SecretBinary); err != nil {
			return b, fail(ErrFailed, "%s answers with data that is not base64", who)
		}
	}
	if field := j.ref.query["field"]; field != "" {
		b.Data, err = fieldOf(b.Data, field)
	}
	return b, err
}

// secretRegion is the region that an ARN names, or the usual one.
func (j *job) secretRegion(ctx context.Context) (string, error) {
	if parts := strings.Split(awsSecret(j.ref), ":"); len(parts) > 5 && parts[0] == "arn" && regionRegexp.MatchString(parts[3]) {
		return parts[3], nil
	}
	return j.region(ctx)
}

// fieldOf takes one text out of a JSON object.
func fieldOf(data []byte, field string) ([]byte, error) {
	var all map[string]json.RawMessage
	if json.Unmarshal(data, &all) != nil {
		return nil, fail(ErrWrongKind, "it is not a JSON object, so it has no field")
	}
	raw, ok := all[field]
	if !ok {
		return nil, fail(ErrNotFound, "the secret has no field of that name")
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return nil, fail(ErrWrongKind, "the field of the secret is not a text")
	}
	return []byte(text), nil
}

// awsJSON is code and message of an error in JSON; the code may have a
// namespace before a #.
func awsJSON(a answer) (code, says string) {
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
		Upper   string `json:"Message"`
	}
	if json.Unmarshal(a.body, &e) != nil {
		return "", ""
	}
	code = e.Type[strings.LastIndexByte(e.Type, '#')+1:]
	if e.Message == "" {
		e.Message = e.Upper
	}
	return code, strings.TrimSuffix(code+", "+e.Message, ", ")
}

func awsExpired(a answer) bool {
	code, _ := awsJSON(a)
	return code == "ExpiredTokenException" || code == "UnrecognizedClientException" || code == "InvalidClientTokenId"
}

// awsRefused classes by the code, since Secrets Manager says 400 to nearly all.
func (j *job) awsRefused(who string, a answer, c awsCredentials) error {
	code, says := awsJSON(a)
	missing := "allow secretsmanager:GetSecretValue on " + awsSecret(j.ref) + " to " + c.who + ", and kms:Decrypt when the secret has a key of its own"
	switch code {
	case "ResourceNotFoundException":
		a.means = http.StatusNotFound
	case "AccessDeniedException", "DecryptionFailure", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId", "IncompleteSignature":
		a.means = http.StatusForbidden
	case "InvalidSignatureException", "RequestExpired":
		return fail(ErrForbidden, "%s refuses: %s; %s, or the secret access key is", who, plain(says, a.hide), clockHint)
	case "ThrottlingException", "LimitExceededException", "TooManyRequestsException":
		a.means = http.StatusTooManyRequests
	case "InternalServiceError", "InternalServiceErrorException":
		a.means = http.StatusInternalServerError
	case "InvalidRequestException": // it is marked for deletion
		return fail(ErrNotFound, "%s does not give it: %s", who, plain(says, a.hide))
	}
	return j.answered(who, a, says, missing)
}
