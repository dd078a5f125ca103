package source

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

var generationRegexp = regexp.MustCompile(`^[0-9]{1,20}$`)

func checkGS(r *Ref) error {
	g, said := r.query["generation"]
	switch {
	case !bucketRegexp.MatchString(r.place):
		return invalid("its bucket has no name of a bucket; write gs://BUCKET/OBJECT")
	case r.path == "" || len(r.path) > 1024:
		return invalid("it names no object; write gs://BUCKET/OBJECT")
	case said && !generationRegexp.MatchString(g):
		return invalid("its generation is not a number")
	}
	return nil
}

// fetchGS reads an object of Google Cloud Storage.
func fetchGS(ctx context.Context, j *job) (Blob, error) {
	const who = "Cloud Storage"
	q := url.Values{"alt": {"media"}}
	if g := j.ref.query["generation"]; g != "" {
		q.Set("generation", g)
	}
	if generationRegexp.MatchString(j.prev) {
		q.Set("ifGenerationNotMatch", j.prev)
	}
	a, c, err := j.googleGet(ctx, who, j.opts.Endpoints.Storage,
		"/storage/v1/b/"+j.ref.place+"/o/"+url.PathEscape(j.ref.path)+"?"+q.Encode(), MaxSize)
	b := Blob{Date: a.date}
	switch {
	case err != nil:
		return b, err
	case a.status == http.StatusNotModified && j.prev != "":
		b.NotModified = true
		return b, nil
	case a.status != http.StatusOK:
		return b, j.answered(who, a, googleSays(a), "grant roles/storage.objectViewer on the bucket "+j.ref.place+" to "+c.who)
	}
	if sum, ok := googleHash(a.header); ok && sum != crc32c(a.body) {
		return b, fail(ErrUnreachable, "the object was damaged on its way: its CRC32C is another")
	}
	b.Data = a.body
	if g := a.header.Get("X-Goog-Generation"); generationRegexp.MatchString(g) {
		b.Version = Version(g)
	}
	return b, nil
}

// googleHash is the CRC32C of the stored object; not said of one that is
// unpacked on its way, since then it is of the packed bytes.
func googleHash(h http.Header) (uint32, bool) {
	if enc := h.Get("X-Goog-Stored-Content-Encoding"); enc != "" && enc != "identity" {
		return 0, false
	}
	for part := range strings.SplitSeq(strings.Join(h.Values("X-Goog-Hash"), ","), ",") {
		text, ok := strings.CutPrefix(strings.TrimSpace(part), "crc32c=")
		if sum, err := base64.StdEncoding.DecodeString(text); ok && err == nil && len(sum) == 4 {
			return binary.BigEndian.Uint32(sum), true
		}
	}
	return 0, false
}
