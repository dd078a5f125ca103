package files

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
)

// bucket holds objects, with a number for each content.
type bucket struct {
	mu      sync.Mutex
	objects map[string]string
	version map[string]int
	page    int
	lists   int
	gets    int
}

func newBucket(page int, files ...string) *bucket {
	b := &bucket{objects: map[string]string{}, version: map[string]int{}, page: page}
	for i := 0; i+1 < len(files); i += 2 {
		b.put(files[i], files[i+1])
	}
	return b
}

func (b *bucket) put(name, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[name] = text
	b.version[name] += 7
}

// list gives a page of names in the order of their bytes.
func (b *bucket) list(prefix, after string, most int) (names []string, more bool) {
	b.lists++
	for name := range b.objects {
		if strings.HasPrefix(name, prefix) && name > after {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	if most = min(most, b.page); len(names) > most {
		return names[:most], true
	}
	return names, false
}

// serve answers with an object, or with the range of it that is asked for; broken
// ends each answer in its middle, once a range.
func serve(w http.ResponseWriter, r *http.Request, text string, broken bool) {
	begin, err := 0, error(nil)
	if span, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		if begin, err = strconv.Atoi(strings.TrimSuffix(span, "-")); err != nil || begin >= len(text) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", begin, len(text)-1, len(text)))
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(text)-begin))
	if begin > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	if broken && len(text)-begin > 3 {
		_, _ = w.Write([]byte(text[begin : begin+3]))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write([]byte(text[begin:]))
}

// s3Fake speaks S3 for one bucket, and takes only what is signed as AWS says.
type s3Fake struct {
	*bucket
	t              *testing.T
	id, key, token string
	region         string
	vhost          bool
	broken         bool
}

func (f *s3Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/latest/") {
		f.metadata(w, r)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if why := f.unsigned(r); why != "" {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, "<Error><Code>SignatureDoesNotMatch</Code><Message>%s</Message></Error>", why)
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/shop/")
	if f.vhost {
		path, ok = strings.TrimPrefix(r.URL.Path, "/"), r.Host == "shop.s3."+f.region+".amazonaws.com"
	}
	if !ok || r.Method != http.MethodGet {
		f.t.Errorf("%s %s%s", r.Method, r.Host, r.URL.Path)
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if path == "" {
		f.listing(w, r.URL.Query())
		return
	}
	text, there := f.objects[path]
	if f.gets++; !there {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	tag := fmt.Sprintf(`"%d"`, f.version[path])
	if want := r.Header.Get("If-Match"); want != tag {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	w.Header().Set("ETag", tag)
	serve(w, r, text, f.broken)
}

func (f *s3Fake) listing(w http.ResponseWriter, q url.Values) {
	if q.Get("list-type") != "2" || q.Get("encoding-type") != "url" {
		f.t.Errorf("asked for %v", q)
	}
	most := 1000
	if text := q.Get("max-keys"); text != "" {
		most, _ = strconv.Atoi(text)
	}
	names, more := f.list(q.Get("prefix"), strings.TrimPrefix(q.Get("continuation-token"), "after:"), most)
	type content struct {
		Key          string
		Size         int
		ETag         string
		LastModified string
	}
	answer := struct {
		XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
		EncodingType          string
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []content
	}{EncodingType: "url", IsTruncated: more}
	for _, n := range names {
		answer.Contents = append(answer.Contents, content{url.QueryEscape(n), len(f.objects[n]), fmt.Sprintf(`"%d"`, f.version[n]), "2026-11-23T10:00:00.000Z"})
	}
	if more {
		answer.NextContinuationToken = "after:" + names[len(names)-1]
	}
	_ = xml.NewEncoder(w).Encode(answer)
}

// unsigned computes the signature from what came over the wire, as the documents
// of AWS describe it.
func (f *s3Fake) unsigned(r *http.Request) string {
	auth, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	fields := map[string]string{}
	for part := range strings.SplitSeq(auth, ", ") {
		k, v, _ := strings.Cut(part, "=")
		fields[k] = v
	}
	at := r.Header.Get("X-Amz-Date")
	if !ok || len(at) != 16 || r.Header.Get("X-Amz-Security-Token") != f.token {
		return "no signature, time or session"
	}
	scope := at[:8] + "/" + f.region + "/s3/aws4_request"
	if fields["Credential"] != f.id+"/"+scope {
		return "credential " + fields["Credential"]
	}
	var headers string
	signed := strings.Split(fields["SignedHeaders"], ";")
	for _, name := range signed {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		headers += name + ":" + strings.TrimSpace(value) + "\n"
	}
	if !slices.Contains(signed, "host") || !slices.Contains(signed, "x-amz-date") || !slices.Contains(signed, "x-amz-content-sha256") || !slices.IsSorted(signed) {
		return "signed headers " + fields["SignedHeaders"]
	}
	pairs := strings.Split(r.URL.RawQuery, "&")
	sort.Strings(pairs)
	path, _, _ := strings.Cut(r.RequestURI, "?")
	request := strings.Join([]string{r.Method, path, strings.Join(pairs, "&"), headers, fields["SignedHeaders"], r.Header.Get("X-Amz-Content-Sha256")}, "\n")
	sum := sha256.Sum256([]byte(request))
	key := []byte("AWS4" + f.key)
	for _, part := range []string{at[:8], f.region, "s3", "aws4_request", "AWS4-HMAC-SHA256\n" + at + "\n" + scope + "\n" + hex.EncodeToString(sum[:])} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	if hex.EncodeToString(key) != fields["Signature"] {
		return "signature"
	}
	return ""
}

// metadata is version 2 of a VM's metadata service.
func (f *s3Fake) metadata(w http.ResponseWriter, r *http.Request) {
	switch path := strings.TrimPrefix(r.URL.Path, "/latest/"); {
	case path == "api/token" && r.Method == http.MethodPut && r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") != "":
		_, _ = w.Write([]byte("session"))
	case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "session":
		w.WriteHeader(http.StatusUnauthorized)
	case path == "meta-data/placement/region":
		_, _ = w.Write([]byte(f.region))
	case path == "meta-data/iam/security-credentials/":
		_, _ = w.Write([]byte("reader\n"))
	case path == "meta-data/iam/security-credentials/reader":
		_ = json.NewEncoder(w).Encode(map[string]string{"Code": "Success", "AccessKeyId": f.id, "SecretAccessKey": f.key, "Token": f.token, "Expiration": time.Now().Add(time.Hour).Format(time.RFC3339)})
	default:
		http.NotFound(w, r)
	}
}

func TestBucketsOfS3AreRead(t *testing.T) {
	const region = "eu-central-1"
	store := desired.S3Access{Endpoint: "https://minio.test", Region: region, AccessKey: "AKIDEXAMPLE", SecretKey: secret}
	aws := store
	aws.Endpoint = ""
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "session", "AWS_REGION": region}[name]
		return v, ok
	}
	for name, c := range map[string]struct {
		settings Settings
		token    string
		vhost    bool
		broken   bool
	}{
		"a store with keys": {settings: Settings{FilesSource: desired.FilesSource{S3: &store}}},
		"that breaks off":   {settings: Settings{FilesSource: desired.FilesSource{S3: &store}}, broken: true},
		"AWS with keys":     {settings: Settings{FilesSource: desired.FilesSource{S3: &aws}}, vhost: true},
		"the environment":   {settings: Settings{Env: env}, token: "session", vhost: true},
		"the machine":       {settings: Settings{}, token: "role-session", vhost: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := &s3Fake{bucket: newBucket(2, "d/2026-01/o 1.csv", "a\n1\n", "d/2026-01/ž+&.csv", "a\n2\n", "d/2026-02/o.csv", "a\n3\n", "d/other.csv", "x\n0\n", "d/2026-02/", "", "e/o.csv", "a\n0\n"),
				t: t, id: "AKIDEXAMPLE", key: secret, token: c.token, region: region, vhost: c.vhost, broken: c.broken}
			online(t, c.settings, f, func(t *testing.T, s *Source) { checkBucket(t, s, f.bucket, "s3") })
		})
	}
}

// checkBucket reads a bucket of either kind: by pages, and again what changed.
func checkBucket(t *testing.T, s *Source, b *bucket, scheme string) {
	t.Helper()
	sp := spec(scheme + "://shop/d/2026-*/*.csv")
	sp.Strategy = connectors.Partitioned
	got, first := syncOf(t, s, nil, sp)
	if r := ok(t, first); r.Rows != 3 || len(got) != 3 || b.lists < 2 {
		t.Errorf("came to %+v, %v, in %d pages", r, got, b.lists)
	}
	b.put("d/2026-02/o.csv", "a\n4\n")
	b.put("d/2026-03/o.csv", "a\n5\n")
	b.mu.Lock()
	delete(b.objects, "d/2026-01/o 1.csv")
	b.mu.Unlock()
	got, second := syncOf(t, s, first.State, sp)
	if r := ok(t, second); len(r.Parts) != 2 || len(r.Gone) != 1 {
		t.Errorf("came to %+v", r)
	}
	holds(t, got, map[string]string{"t/shop_d_2026-02_o-": "\"a\"\n4\n", "t/shop_d_2026-03_o-": "\"a\"\n5\n"})
	got, one := syncOf(t, s, nil, spec(scheme+"://shop/d/2026-01/ž+&.csv"))
	ok(t, one)
	holds(t, got, map[string]string{"t.csv": "\"a\"\n2\n"})
	_, none := syncOf(t, s, nil, spec(scheme+"://shop/d/2026-0"))
	failedWith(t, none, "there is no such file")
}

func TestS3SaysWhatIsWrong(t *testing.T) {
	store := desired.S3Access{Endpoint: "https://minio.test", Region: "eu-central-1", AccessKey: "AKIDEXAMPLE", SecretKey: "wrong"}
	f := &s3Fake{bucket: newBucket(2, "a.csv", "a\n"), t: t, id: "AKIDEXAMPLE", key: secret, region: "eu-central-1"}
	online(t, Settings{FilesSource: desired.FilesSource{S3: &store}}, f, func(t *testing.T, s *Source) {
		_, report := syncOf(t, s, nil, spec("s3://shop/*.csv"))
		failedWith(t, report, "403")
		if h := report.Tables[0].Hint; !strings.Contains(h, "AKIDEXAMPLE") || !strings.Contains(h, "s3:ListBucket") {
			t.Errorf("the hint is %q", h)
		}
	})
	moved := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amz-Bucket-Region", "us-west-2")
		w.WriteHeader(http.StatusMovedPermanently)
	})
	aws := desired.S3Access{Region: "eu-central-1", AccessKey: "x", SecretKey: secret}
	online(t, Settings{FilesSource: desired.FilesSource{S3: &aws}}, moved, func(t *testing.T, s *Source) {
		_, report := syncOf(t, s, nil, spec("s3://shop/*.csv"))
		failedWith(t, report, "the bucket is in us-west-2")
		if h := report.Tables[0].Hint; h != "Set s3.region to us-west-2" {
			t.Errorf("the hint is %q", h)
		}
	})
	own := desired.S3Access{Endpoint: "https://minio.test"}
	online(t, Settings{FilesSource: desired.FilesSource{S3: &own}}, f, func(t *testing.T, s *Source) {
		_, report := syncOf(t, s, nil, spec("s3://shop/*.csv")) // the role of the machine is for AWS alone
		failedWith(t, report, "there are no keys for s3.endpoint")
	})
}

// gsFake speaks the JSON API of Cloud Storage and gives tokens.
type gsFake struct {
	*bucket
	t      *testing.T
	token  string // empty: nobody in particular may ask, as in emulators
	given  int
	broken bool
}

func (f *gsFake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.URL.Path == "/token" && r.Method == http.MethodPost {
		f.given++
		f.token = fmt.Sprintf("token-%d", f.given)
		_, _ = fmt.Fprintf(w, `{"access_token": %q, "expires_in": 3600}`, f.token)
		return
	}
	want := ""
	if f.token != "" {
		want = "Bearer " + f.token
	}
	if r.Header.Get("Authorization") != want {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	q := r.URL.Query()
	name, object := strings.CutPrefix(r.URL.EscapedPath(), "/storage/v1/b/shop/o/")
	switch {
	case r.URL.Path == "/storage/v1/b/shop/o":
		f.listing(w, q)
	case object && q.Get("alt") == "media":
		name, _ = url.PathUnescape(name)
		text, there := f.objects[name]
		if f.gets++; !there || q.Get("generation") != strconv.Itoa(f.version[name]) {
			http.NotFound(w, r)
			return
		}
		if r.Header.Get("Accept-Encoding") != "gzip" {
			f.t.Error("an object could be unpacked on its way")
		}
		serve(w, r, text, f.broken)
	default:
		http.NotFound(w, r)
	}
}

func (f *gsFake) listing(w http.ResponseWriter, q url.Values) {
	most, _ := strconv.Atoi(q.Get("maxResults"))
	names, more := f.list(q.Get("prefix"), strings.TrimPrefix(q.Get("pageToken"), "after:"), most)
	answer := map[string]any{}
	var items []map[string]string
	for _, n := range names {
		items = append(items, map[string]string{"name": n, "size": strconv.Itoa(len(f.objects[n])), "generation": strconv.Itoa(f.version[n]), "updated": "2026-11-23T10:00:00Z"})
	}
	if answer["items"] = items; more {
		answer["nextPageToken"] = "after:" + names[len(names)-1]
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func gsBucket(t *testing.T) *gsFake {
	return &gsFake{bucket: newBucket(2, "d/2026-01/o 1.csv", "a\n1\n", "d/2026-01/ž+&.csv", "a\n2\n", "d/2026-02/o.csv", "a\n3\n", "d/other.csv", "x\n0\n", "d/2026-02/", "", "e/o.csv", "a\n0\n"), t: t}
}

func TestBucketsOfGoogleAreRead(t *testing.T) {
	for name, broken := range map[string]bool{"whole": false, "that break off": true} {
		t.Run("emulators "+name, func(t *testing.T) {
			f := gsBucket(t)
			f.broken = broken
			online(t, Settings{FilesSource: desired.FilesSource{GS: &desired.GSAccess{Endpoint: "https://gs.test"}}}, f, func(t *testing.T, s *Source) { checkBucket(t, s, f.bucket, "gs") })
		})
	}
	f := gsBucket(t)
	server := httptest.NewServer(f)
	defer server.Close()
	settings := Settings{FilesSource: desired.FilesSource{GS: &desired.GSAccess{Endpoint: server.URL, Key: serviceKey(t, server.URL+"/token")}}, AllowHost: anyHost, Endpoints: Endpoints{GoogleToken: server.URL + "/token"}}
	s, err := New(settings)
	if err != nil {
		t.Fatal(err)
	}
	checkBucket(t, s, f.bucket, "gs")
	f.mu.Lock()
	f.token = "another" // the one that was kept is not taken any more
	f.mu.Unlock()
	_, report := syncOf(t, s, nil, spec("gs://shop/d/other.csv"))
	ok(t, report)
	if f.given != 2 {
		t.Errorf("%d tokens were given", f.given)
	}
}

func serviceKey(t *testing.T, tokenURI string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(map[string]string{"type": "service_account", "client_email": "reader@p.iam", "token_uri": tokenURI,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))})
	return string(text)
}

func TestGoogleSaysWhatIsWrong(t *testing.T) {
	for code, want := range map[int]string{http.StatusForbidden: "roles/storage.objectViewer", http.StatusNotFound: "no such bucket"} {
		refuse := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
		online(t, Settings{FilesSource: desired.FilesSource{GS: &desired.GSAccess{Endpoint: "https://gs.test"}}}, refuse, func(t *testing.T, s *Source) {
			_, report := syncOf(t, s, nil, spec("gs://shop/*.csv"))
			failedWith(t, report, strconv.Itoa(code))
			if h := report.Tables[0].Hint; !strings.Contains(h, want) {
				t.Errorf("the hint is %q", h)
			}
		})
	}
}

// TestMemoryStaysFlat: a large file takes no more memory than a small one.
func TestMemoryStaysFlat(t *testing.T) {
	row := []byte("1234567,19.90,a note of some words and more,2026-11-23\n")
	const megabytes = 96
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		if r.Method == http.MethodHead {
			return
		}
		_, _ = w.Write([]byte("id,amount,note,day\n"))
		block := bytes.Repeat(row, 1<<20/len(row))
		for range megabytes {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	online(t, Settings{}, handler, func(t *testing.T, s *Source) {
		peak := uint64(0)
		job := connectors.Job{Dir: t.TempDir(), Tables: []connectors.TableSpec{spec("https://data.test/big.csv")}, Progress: func(string, int64, int64) { peak = max(peak, heap()) }}
		before := heap()
		report, err := s.Sync(context.WithoutCancel(t.Context()), job)
		if err != nil || report.Outcome() != connectors.OK {
			t.Fatalf("%+v, %v", report, err)
		}
		if peak > before+16<<20 {
			t.Errorf("the heap grew from %d to %d MiB", before>>20, peak>>20)
		}
	})
}
