package source

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fairlead/fairlead/certs/cloud"
)

// signV4 signs a question as AWS has it. The hash of the body is among the
// headers, since S3 wants it there.
func signV4(q *question, c awsCredentials, region, service string, now time.Time) error {
	u, err := url.Parse(q.url)
	if err != nil {
		return fail(ErrRefused, "the address of %s does not parse", q.who)
	}
	if q.header == nil {
		q.header = http.Header{}
	}
	q.header.Set("X-Amz-Content-Sha256", cloud.Sum(q.body))
	signature := c.Sign(q.method, u, q.header, q.body, region, service, now)
	q.hide = append(q.hide, c.Secret, c.Session, signature)
	return nil
}

// escapePath escapes all but RFC 3986's unreserved characters and slashes.
func escapePath(path string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(path) {
		switch c := path[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.~/", c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
		}
	}
	return b.String()
}
