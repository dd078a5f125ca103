package cloud

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Keys are an access key to AWS. Without a session it is that of a user.
type Keys struct{ ID, Secret, Session string }

// Sign puts AWS Signature Version 4 into the headers of a request: over method,
// path, query, all headers that are there, and the hash of the body. The path is
// the one on the wire; S3 escapes it once, others twice, which is the same for
// paths of plain characters. It returns the signature, a secret while it is valid.
func (k Keys) Sign(method string, u *url.URL, h http.Header, body []byte, region, service string, now time.Time) string {
	at := now.UTC().Format("20060102T150405Z")
	h.Set("X-Amz-Date", at)
	if k.Session != "" {
		h.Set("X-Amz-Security-Token", k.Session)
	}
	names, headers := canonicalHeaders(h, u.Host)
	query := strings.ReplaceAll(u.Query().Encode(), "+", "%20")
	request := strings.Join([]string{method, cmp.Or(u.EscapedPath(), "/"), query, headers, names, Sum(body)}, "\n")
	scope := at[:8] + "/" + region + "/" + service + "/aws4_request"
	text := "AWS4-HMAC-SHA256\n" + at + "\n" + scope + "\n" + Sum([]byte(request))
	key := []byte("AWS4" + k.Secret)
	for _, part := range []string{at[:8], region, service, "aws4_request", text} {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(part))
		key = m.Sum(nil)
	}
	signature := hex.EncodeToString(key)
	h.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+k.ID+"/"+scope+", SignedHeaders="+names+", Signature="+signature)
	return signature
}

// canonicalHeaders are the headers in order, each on a line of its own.
func canonicalHeaders(h http.Header, host string) (names, lines string) {
	all := map[string]string{"host": host}
	for name, values := range h {
		if name != "Authorization" && name != "User-Agent" {
			all[strings.ToLower(name)] = strings.Join(strings.Fields(strings.Join(values, ",")), " ")
		}
	}
	var list []string
	for name := range all {
		list = append(list, name)
	}
	slices.Sort(list)
	for _, name := range list {
		lines += name + ":" + all[name] + "\n"
	}
	return strings.Join(list, ";"), lines
}

// Sum is the SHA-256 of data, hexadecimal.
func Sum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
