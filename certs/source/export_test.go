package source

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/fairlead/fairlead/certs/cloud"
)

// SignatureOf signs a request again as it came by the wire.
func SignatureOf(r *http.Request, body []byte, id [3]string, region, service string) (string, error) {
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return "", err
	}
	_, names, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	q := question{method: r.Method, url: "http://" + r.Host + r.RequestURI, body: body, header: http.Header{}}
	for name := range strings.SplitSeq(names, ";") {
		if name != "host" {
			q.header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	err = signV4(&q, awsCredentials{Keys: cloud.Keys{ID: id[0], Secret: id[1], Session: id[2]}}, region, service, at)
	return q.header.Get("Authorization"), err
}

// Sign signs a request with these headers, without those that are ours.
func Sign(method, url string, h http.Header, id, secret, region, service string, at time.Time) (string, error) {
	q := question{method: method, url: url, header: h}
	err := signV4(&q, awsCredentials{Keys: cloud.Keys{ID: id, Secret: secret}}, region, service, at)
	return q.header.Get("Authorization"), err
}

// Permits says whether an address of a user's URL may be asked.
func Permits(a netip.Addr, loopback bool) error { return guard{loopback: loopback}.permits(a) }

// Plain is one line of what another program said.
func Plain(text string, hide []string) string { return plain(text, hide) }

// CheckContent says whether the content is of the field's kind.
func CheckContent(f Field, data []byte) error { return checkContent(f, data) }
