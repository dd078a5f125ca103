package source

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

func checkRegion(r *Ref) error {
	if region, said := r.query["region"]; said && !regionRegexp.MatchString(region) {
		return invalid("its region is not one, such as eu-central-1")
	}
	return nil
}

func checkS3(r *Ref) error {
	switch {
	case !bucketRegexp.MatchString(r.place) || len(r.place) > 63:
		return invalid("its bucket has no name of a bucket; write s3://BUCKET/KEY")
	case r.path == "" || len(r.path) > 1024 || strings.Contains(r.path, "//") || strings.HasPrefix(r.path, "/"):
		return invalid("it names no key, or one with an empty part; write s3://BUCKET/KEY")
	}
	return checkRegion(r)
}

// fetchS3 reads an object of S3, or of what speaks its protocol.
func fetchS3(ctx context.Context, j *job) (Blob, error) {
	const who = "S3"
	region, err := j.region(ctx)
	if err != nil {
		return Blob{}, err
	}
	endpoint, path := inRegion(j.opts.Endpoints.S3, region), "/"+escapePath(j.ref.path)
	if strings.Contains(endpoint, "{bucket}") && !strings.Contains(j.ref.place, ".") {
		endpoint = fill(endpoint, "bucket", j.ref.place)
	} else { // a dot in the name of a host would need a certificate of its own
		endpoint = strings.ReplaceAll(endpoint, "{bucket}.", "")
		path = "/" + j.ref.place + path
	}
	if v := j.ref.query["version"]; v != "" {
		path += "?versionId=" + url.QueryEscape(v)
	}
	q := question{who: who, method: http.MethodGet, url: endpoint + path, limit: MaxSize, header: http.Header{}}
	if j.prev != "" {
		q.header.Set("If-None-Match", j.prev)
	}
	a, c, err := j.awsAsk(ctx, q, endpoint, region, "s3", s3Expired)
	b := Blob{Date: a.date}
	switch {
	case err != nil:
		return b, err
	case a.status == http.StatusNotModified && j.prev != "":
		b.NotModified = true
		return b, nil
	case a.status != http.StatusOK:
		return b, j.s3Refused(a, c)
	}
	b.Data, b.Version = a.body, Version(etag(a.header))
	return b, nil
}

// awsAsk signs and asks, and once more with new credentials when the service
// no longer takes the kept ones.
func (j *job) awsAsk(ctx context.Context, q question, endpoint, region, service string, expired func(answer) bool) (answer, awsCredentials, error) {
	g, err := serviceGuard(endpoint)
	if err != nil {
		return answer{}, awsCredentials{}, err
	}
	q.guard = g
	for try := 0; ; try++ {
		c, err := j.awsIdentity(ctx, region)
		if err != nil {
			return answer{}, c, err
		}
		signed := q
		signed.header = q.header.Clone()
		if err := signV4(&signed, c, region, service, j.opts.Now()); err != nil {
			return answer{}, c, err
		}
		a, err := j.ask(ctx, signed)
		if err != nil || try > 0 || !expired(a) {
			return a, c, err
		}
		j.aws.drop(ctx, "aws")
	}
}

func s3Expired(a answer) bool {
	code, _ := awsXML(a)
	return code == "ExpiredToken" || code == "TokenRefreshRequired" || code == "InvalidToken"
}

const clockHint = "the clock of this host is wrong: set it by NTP"

func (j *job) s3Refused(a answer, c awsCredentials) error {
	code, says := awsXML(a)
	switch {
	case code == "RequestTimeTooSkewed":
		return fail(ErrForbidden, "S3 refuses: %s", clockHint)
	case code == "NoSuchBucket":
		return fail(ErrNotFound, "S3 has no bucket of that name")
	case s3Expired(a):
		return fail(ErrForbidden, "S3 does not take the credentials of %s: %s", c.who, plain(says, a.hide))
	case a.status == http.StatusMovedPermanently || a.status == http.StatusTemporaryRedirect || code == "AuthorizationHeaderMalformed":
		return fail(ErrFailed, "the bucket is in another region%s; add ?region=REGION", inOther(a.header))
	}
	return j.answered("S3", a, says, "allow s3:GetObject on arn:aws:s3:::"+j.ref.place+"/"+plain(j.ref.path, nil)+
		" to "+c.who+"; without s3:ListBucket a missing object is refused too")
}

func inOther(h http.Header) string {
	if r := h.Get("X-Amz-Bucket-Region"); regionRegexp.MatchString(r) {
		return " (" + r + ")"
	}
	return ""
}
