package source

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// signV4 signs a request as AWS Signature Version 4 has it: method, path,
// query, all headers that are there, and the hash of the body. The path is the
// one on the wire; S3 escapes it once, and for others it is /.
func signV4(q *question, c awsCredentials, region, service string, now time.Time) error {
	u, err := url.Parse(q.url)
	if err != nil {
		return fail(ErrRefused, "the address of %s does not parse", q.who)
	}
	if q.header == nil {
		q.header = http.Header{}
	}
	at := now.UTC().Format("20060102T150405Z")
	body := hexSum(q.body)
	q.header.Set("X-Amz-Date", at)
	q.header.Set("X-Amz-Content-Sha256", body)
	if c.token != "" {
		q.header.Set("X-Amz-Security-Token", c.token)
	}
	names, headers := canonicalHeaders(q.header, u.Host)
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	request := strings.Join([]string{q.method, path, canonicalQuery(u), headers, names, body}, "\n")
	scope := at[:8] + "/" + region + "/" + service + "/aws4_request"
	text := "AWS4-HMAC-SHA256\n" + at + "\n" + scope + "\n" + hexSum([]byte(request))
	key := []byte("AWS4" + c.secret)
	for part := range strings.SplitSeq(scope, "/") {
		if part == "aws4_request" {
			break
		}
		key = mac(key, part)
	}
	sig := hex.EncodeToString(mac(mac(key, "aws4_request"), text))
	q.header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+c.id+"/"+scope+",SignedHeaders="+names+",Signature="+sig)
	q.hide = append(q.hide, c.secret, c.token, sig)
	return nil
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

func canonicalQuery(u *url.URL) string {
	return strings.ReplaceAll(u.Query().Encode(), "+", "%20")
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

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}
