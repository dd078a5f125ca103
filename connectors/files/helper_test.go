package files

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest/resttest"
	"github.com/fairlead/fairlead/desired"
)

const secret = "s3cret-token-abcdef"

// site serves files over https as a static server does, with ranges and ETags,
// and has the trouble that a test makes.
type site struct {
	t  *testing.T
	mu sync.Mutex

	files   map[string]string // HOST/PATH → content
	version map[string]int
	weak    bool // ETags
	noHead  bool
	noRange bool
	hits    []string
	// trouble may answer instead; it is asked first.
	trouble func(w http.ResponseWriter, r *http.Request) bool
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hits = append(s.hits, strings.TrimSpace(fmt.Sprintf("%s %s%s %s", r.Method, r.Host, r.URL.Path, r.Header.Get("Range"))))
	if s.trouble != nil && s.trouble(w, r) {
		return
	}
	text, there := s.files[r.Host+r.URL.Path]
	switch {
	case !there:
		http.NotFound(w, r)
		return
	case r.Method == http.MethodHead && s.noHead:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	tag := fmt.Sprintf(`"v%d"`, s.version[r.Host+r.URL.Path])
	if s.weak {
		tag = "W/" + tag
	}
	w.Header().Set("ETag", tag)
	if s.noRange {
		r.Header.Del("Range")
	}
	http.ServeContent(w, r, r.URL.Path, time.Time{}, strings.NewReader(text))
}

// put changes a file.
func (s *site) put(name, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[name] = text
	s.version[name]++
}

func (s *site) asked(method string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hits {
		if strings.HasPrefix(h, method+" ") {
			n++
		}
	}
	return n
}

func anyHost(string, netip.Addr) error { return nil }

func anyDir(string) error { return nil }

// online runs a test of a source whose requests all go to handler, in a bubble,
// where pauses cost nothing.
func online(t *testing.T, settings Settings, handler http.Handler, test func(t *testing.T, s *Source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if settings.AllowHost == nil {
			settings.AllowHost = anyHost
		}
		s, err := New(settings)
		if err != nil {
			t.Fatal(err)
		}
		defer connect(t, s, handler)()
		test(t, s)
	})
}

// connect leads all requests of a source to handler.
func connect(t *testing.T, s *Source, handler http.Handler) (end func()) {
	t.Helper()
	ends := []func(){resttest.Connect(t, s.web, handler), resttest.Connect(t, s.cloud, handler), resttest.Connect(t, s.s3.id.http, handler)}
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

func web1(t *testing.T, test func(t *testing.T, p *site, s *Source)) {
	t.Helper()
	p := &site{t: t, files: map[string]string{}, version: map[string]int{}}
	online(t, Settings{FilesSource: desired.FilesSource{Headers: map[string]string{"data.test/Authorization": "Bearer " + secret}}}, p, func(t *testing.T, s *Source) { test(t, p, s) })
}

// sync runs and gives what was left: the text of each file by its path.
func syncOf(t *testing.T, s *Source, state json.RawMessage, specs ...connectors.TableSpec) (map[string]string, connectors.Report) {
	t.Helper()
	dir := t.TempDir()
	report, err := s.Sync(t.Context(), connectors.Job{Dir: dir, Tables: specs, State: state, Now: time.Now(), Progress: func(string, int64, int64) {}})
	if err != nil {
		t.Errorf("the run ended: %v", err)
	}
	text, _ := json.Marshal(report)
	if bytes.Contains(text, []byte(secret)) {
		t.Errorf("the report holds a secret: %s", text)
	}
	out := map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.HasSuffix(path, ".gz") && err == nil {
			data = gunzip(t, data)
		}
		name, _ := filepath.Rel(dir, path)
		out[name] = string(data)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out, report
}

func gunzip(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text) // a buffer does not fail
	_ = z.Close()
	return b.String()
}

func zipped(files ...string) string {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i+1 < len(files); i += 2 {
		w, _ := z.Create(files[i]) // a buffer does not fail
		_, _ = io.WriteString(w, files[i+1])
	}
	_ = z.Close()
	return b.String()
}

// holds compares what a run left, parts by the beginning of their names.
func holds(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("left are %v", got)
	}
	for name, text := range want {
		found := false
		for have, is := range got {
			if found = have == name || strings.HasSuffix(name, "-") && strings.HasPrefix(have, name); found {
				if is != text {
					t.Errorf("%s is %q, not %q", have, is, text)
				}
				break
			}
		}
		if !found {
			t.Errorf("there is no %s in %v", name, got)
		}
	}
}

// failedWith checks that the one table failed, with an error and a hint.
func failedWith(t *testing.T, r connectors.Report, want string) {
	t.Helper()
	got := r.Tables[0]
	if got.Outcome != connectors.Failed || !strings.Contains(got.Error, want) {
		t.Errorf("came to %+v, want an error with %q", got, want)
	}
}

func ok(t *testing.T, r connectors.Report) connectors.TableResult {
	t.Helper()
	for _, got := range r.Tables {
		if got.Outcome != connectors.OK {
			t.Errorf("came to %+v", got)
		}
	}
	return r.Tables[0]
}

// local writes files into a directory and gives a source of it.
func localSource(t testing.TB, files ...string) (string, *Source) {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i+1 < len(files); i += 2 {
		write(t, dir, files[i], files[i+1])
	}
	s, err := New(Settings{FilesSource: desired.FilesSource{Dir: dir}, AllowDir: anyDir})
	if err != nil {
		t.Fatal(err)
	}
	return dir, s
}

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func names(columns []connectors.Column) (out []string) {
	for _, c := range columns {
		out = append(out, c.Name)
	}
	return out
}

func warned(t *testing.T, r connectors.TableResult, want string) {
	t.Helper()
	if !slices.ContainsFunc(r.Warnings, func(w string) bool { return strings.Contains(w, want) }) {
		t.Errorf("the warnings are %q, want %q", r.Warnings, want)
	}
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
