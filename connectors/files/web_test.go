package files

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
)

func TestOnlyWhatChangedIsFetched(t *testing.T) {
	for name, weak := range map[string]bool{"strong": false, "weak": true} {
		t.Run(name, func(t *testing.T) {
			web1(t, func(t *testing.T, p *site, s *Source) {
				p.weak = weak
				p.put("data.test/a.csv", "a\n1\n")
				p.put("data.test/b.csv", "a\n2\n")
				sp := spec("https://data.test/a.csv", "https://data.test/b.csv?sig=0123456789abcdef")
				sp.Strategy = connectors.Partitioned
				_, first := syncOf(t, s, nil, sp)
				ok(t, first)
				if strings.Contains(string(first.State), "0123456789abcdef") {
					t.Errorf("the state holds a signature: %s", first.State)
				}
				p.put("data.test/b.csv", "a\n3\n")
				gets := p.asked("GET")
				got, second := syncOf(t, s, first.State, sp)
				if r := ok(t, second); len(r.Parts) != 1 || p.asked("GET") != gets+1 {
					t.Errorf("came to %+v, asked %v", r, p.hits)
				}
				holds(t, got, map[string]string{"t/data_test_b-": "\"a\"\n3\n"})
			})
		})
	}
}

// cut sends a part of a file, with the length of the whole, and breaks off.
func cut(w http.ResponseWriter, r *http.Request, text string, after int) {
	begin := 0
	if span, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		begin, _ = strconv.Atoi(strings.TrimSuffix(span, "-"))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", begin, len(text)-1, len(text)))
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(text)-begin))
	if begin > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = w.Write([]byte(text[begin:min(begin+after, len(text))]))
	if begin+after >= len(text) {
		return
	}
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func bigCSV(rows int) string {
	var b strings.Builder
	b.WriteString("id,note\n")
	for i := range rows {
		fmt.Fprintf(&b, "%d,a note\n", i)
	}
	return b.String()
}

func TestAConnectionThatBreaksGoesOnWhereItWas(t *testing.T) {
	web1(t, func(t *testing.T, p *site, s *Source) {
		text := bigCSV(50_000)
		p.put("data.test/a.csv", text)
		p.trouble = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead {
				return false
			}
			if r.Header.Get("Range") != "" && r.Header.Get("If-Range") != `"v1"` {
				t.Errorf("asked for the middle with %v", r.Header)
			}
			w.Header().Set("ETag", `"v1"`)
			cut(w, r, text, 100_000)
			return true
		}
		got, report := syncOf(t, s, nil, spec("https://data.test/a.csv"))
		if r := ok(t, report); r.Rows != 50_000 {
			t.Errorf("came to %+v", r)
		}
		if len(got["t.csv"]) != len(text)+4 { // the header is quoted
			t.Errorf("%d bytes came of %d", len(got["t.csv"]), len(text))
		}
		if n := p.asked("GET"); n != (len(text)+99_999)/100_000 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestWithoutAStrongTagAFileIsReadAnew, so that no two contents are mixed; and
// when it breaks each time, it fails.
func TestWithoutAStrongTagAFileIsReadAnew(t *testing.T) {
	web1(t, func(t *testing.T, p *site, s *Source) {
		text := bigCSV(1000)
		p.put("data.test/a.csv", text)
		broken := 0
		p.trouble = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead {
				return false
			}
			if r.Header.Get("Range") != "" {
				t.Error("the middle of a file without a strong tag is asked for")
			}
			w.Header().Set("ETag", `W/"v1"`)
			after := len(text)
			if broken--; broken >= 0 {
				after = 5000
			}
			cut(w, r, text, after)
			return true
		}
		broken = 2
		_, report := syncOf(t, s, nil, spec("https://data.test/a.csv"))
		if r := ok(t, report); r.Rows != 1000 {
			t.Errorf("came to %+v", r)
		}
		broken = 100
		got, report := syncOf(t, s, nil, spec("https://data.test/a.csv"))
		failedWith(t, report, "unexpected EOF")
		holds(t, got, nil)
	})
}

// TestAFileThatChangesOnTheWayIsReadAnew: a range of another content is not
// taken for the rest.
func TestAFileThatChangesOnTheWayIsReadAnew(t *testing.T) {
	web1(t, func(t *testing.T, p *site, s *Source) {
		before, after := bigCSV(1000), strings.ReplaceAll(bigCSV(1000), "a note", "b note")
		p.put("data.test/a.csv", before)
		p.trouble = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead || p.version["data.test/a.csv"] > 1 {
				return false
			}
			p.files["data.test/a.csv"], p.version["data.test/a.csv"] = after, 2
			w.Header().Set("ETag", `"v1"`)
			cut(w, r, before, 5000)
			return true
		}
		got, report := syncOf(t, s, nil, spec("https://data.test/a.csv"))
		ok(t, report)
		if strings.Contains(got["t.csv"], "a note") || strings.Count(got["t.csv"], "b note") != 1000 {
			t.Error("the contents are mixed")
		}
	})
}

func TestWrongRangesAndLengthsAreNotBelieved(t *testing.T) {
	text := bigCSV(1000)
	for name, lie := range map[string]func(w http.ResponseWriter){
		"another range": func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(text)-1, len(text)))
			w.WriteHeader(http.StatusPartialContent)
		},
		"another total": func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 5000-6000/6001")
			w.WriteHeader(http.StatusPartialContent)
		},
		"another tag": func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"v2"`)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 5000-%d/%d", len(text)-1, len(text)))
			w.WriteHeader(http.StatusPartialContent)
		},
		"the range is none": func(w http.ResponseWriter) { w.WriteHeader(http.StatusRequestedRangeNotSatisfiable) },
	} {
		t.Run(name, func(t *testing.T) {
			web1(t, func(t *testing.T, p *site, s *Source) {
				p.put("data.test/a.csv", text)
				p.trouble = func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method == http.MethodHead {
						return false
					}
					w.Header().Set("ETag", `"v1"`)
					if r.Header.Get("Range") == "" {
						cut(w, r, text, 5000)
					}
					lie(w)
					_, _ = w.Write([]byte(text[5000:]))
					return true
				}
				got, report := syncOf(t, s, nil, spec("https://data.test/a.csv"))
				failedWith(t, report, "a.csv")
				holds(t, got, nil)
			})
		})
	}
}

func TestServersThatAskForPatienceGetIt(t *testing.T) {
	web1(t, func(t *testing.T, p *site, s *Source) {
		p.put("data.test/a.csv", "a\n1\n")
		start, left := time.Now(), 2
		p.trouble = func(w http.ResponseWriter, r *http.Request) bool {
			if left--; left < 0 {
				return false
			}
			w.Header().Set("Retry-After", "120")
			w.WriteHeader([]int{http.StatusTooManyRequests, http.StatusServiceUnavailable}[left])
			return true
		}
		_, report := syncOf(t, s, nil, spec("https://data.test/a.csv"))
		ok(t, report)
		if waited := time.Since(start); waited != 4*time.Minute {
			t.Errorf("waited %s", waited)
		}
	})
}

func TestAServerThatFallsSilentIsAskedAgain(t *testing.T) {
	web1(t, func(t *testing.T, p *site, s *Source) {
		text, silent := bigCSV(1000), true
		p.put("data.test/a.csv", text)
		p.trouble = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead || !silent {
				return false
			}
			silent = false
			w.Header().Set("ETag", `"v1"`)
			w.Header().Set("Content-Length", strconv.Itoa(len(text)))
			_, _ = w.Write([]byte(text[:5000]))
			_ = http.NewResponseController(w).Flush()
			p.mu.Unlock()
			<-r.Context().Done()
			p.mu.Lock()
			return true
		}
		start := time.Now()
		_, report := syncOf(t, s, nil, spec("https://data.test/a.csv"))
		if r := ok(t, report); r.Rows != 1000 || time.Since(start) < stall {
			t.Errorf("came to %+v after %s", r, time.Since(start))
		}
	})
}

func TestRedirectsStayAtTheHost(t *testing.T) {
	web1(t, func(t *testing.T, p *site, s *Source) {
		p.put("data.test/b.csv", "a\n1\n")
		p.put("other.test/b.csv", "a\n2\n")
		to := "/b.csv"
		p.trouble = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Host != "data.test" {
				t.Errorf("%s was asked, with %q", r.Host, r.Header.Get("Authorization"))
			}
			if r.URL.Path != "/b.csv" {
				http.Redirect(w, r, to, http.StatusFound)
				return true
			}
			return false
		}
		got, report := syncOf(t, s, nil, spec("https://data.test/a.csv"))
		ok(t, report)
		holds(t, got, map[string]string{"t.csv": "\"a\"\n1\n"})
		for _, to = range []string{"https://other.test/b.csv", "http://data.test/b.csv", "/again", "https://data.test.evil/"} {
			_, report = syncOf(t, s, nil, spec("https://data.test/a.csv"))
			failedWith(t, report, "a redirect, which is not followed")
			if report.Tables[0].Hint == "" {
				t.Errorf("%s: no hint", to)
			}
		}
	})
}

// TestHeadersGoToTheirHostAlone, and nothing quotes them.
func TestHeadersGoToTheirHostAlone(t *testing.T) {
	web1(t, func(t *testing.T, p *site, s *Source) {
		p.put("data.test/a.csv", "a\n1\n")
		p.put("other.test/a.csv", "a\n1\n")
		p.trouble = func(w http.ResponseWriter, r *http.Request) bool {
			got := r.Header.Get("Authorization")
			if (got == "Bearer "+secret) != (r.Host == "data.test") {
				t.Errorf("%s is asked with %q", r.Host, got)
			}
			if r.URL.Path == "/no" {
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = fmt.Fprintf(w, `{"error": "%s is wrong"}`, got)
				return true
			}
			return false
		}
		_, report := syncOf(t, s, nil, spec("https://data.test/a.csv", "https://other.test/a.csv"))
		ok(t, report)
		_, report = syncOf(t, s, nil, spec("https://data.test/no"))
		failedWith(t, report, "401")
		if report.Tables[0].Hint == "" {
			t.Error("no hint")
		}
	})
}

func TestHeadersWithoutAHostGoToTheOnlyOne(t *testing.T) {
	p := &site{t: t, files: map[string]string{"a.test/x.csv": "a\n1\n", "b.test/x.csv": "a\n1\n"}, version: map[string]int{}}
	p.trouble = func(_ http.ResponseWriter, r *http.Request) bool {
		if got := r.Header.Get("X-Key"); got != secret || r.Host != "a.test" {
			t.Errorf("%s is asked with %q", r.Host, got)
		}
		return false
	}
	settings := Settings{FilesSource: desired.FilesSource{Headers: map[string]string{"X-Key": secret}}, Paths: []string{"https://a.test/x.csv"}}
	online(t, settings, p, func(t *testing.T, s *Source) {
		_, report := syncOf(t, s, nil, spec("https://a.test/x.csv"))
		ok(t, report)
		// a job for one table of the connector
		report, err := s.Sync(t.Context(), connectors.Job{Dir: t.TempDir(), Tables: []connectors.TableSpec{spec("https://b.test/x.csv")}})
		if err == nil || report.Outcome() != connectors.Failed {
			t.Errorf("came to %+v, %v", report, err)
		}
		failedWith(t, report, "say which a header is for")
	})
}

func TestPagesAndMissingFilesAreNoData(t *testing.T) {
	web1(t, func(t *testing.T, p *site, s *Source) {
		p.put("data.test/login", "<html>")
		p.trouble = func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "text/html")
			return false
		}
		for path, want := range map[string]string{"login": "a page of HTML", "gone.csv": "there is no such file"} {
			_, report := syncOf(t, s, nil, spec("https://data.test/"+path))
			failedWith(t, report, want)
			if report.Tables[0].Hint == "" {
				t.Errorf("%s: no hint", path)
			}
		}
		p.noHead = true
		p.trouble = nil
		p.put("data.test/a.csv", "a\n1\n")
		_, report := syncOf(t, s, nil, spec("https://data.test/a.csv"))
		ok(t, report)
	})
}

// TestTheHostIsAskedAboutNamesAndAddresses of what is really connected to.
func TestTheHostIsAskedAboutNamesAndAddresses(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("a\n1\n")) }))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	var asked []string
	refuse := ""
	allow := func(host string, at netip.Addr) error {
		asked = append(asked, host+" "+at.String())
		if at.IsValid() && refuse == "address" || refuse == "name" {
			return errors.New("the host does not permit " + host)
		}
		return nil
	}
	for _, refuse = range []string{"", "name", "address"} {
		s, err := New(Settings{AllowHost: allow, Roots: roots})
		if err != nil {
			t.Fatal(err)
		}
		s.web.Tries = 1
		asked = nil
		_, report := syncOf(t, s, nil, spec(server.URL+"/a.csv"))
		switch refuse {
		case "":
			ok(t, report)
			if asked[0] != "127.0.0.1 invalid IP" || !slices.Contains(asked, "127.0.0.1 127.0.0.1") {
				t.Errorf("asked about %q", asked)
			}
		default:
			failedWith(t, report, "the host does not permit 127.0.0.1")
		}
	}
	s, err := New(Settings{Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	_, report := syncOf(t, s, nil, spec(server.URL+"/a.csv"))
	failedWith(t, report, "permits no other")
}

func TestTablesAreBounded(t *testing.T) {
	p := &site{t: t, files: map[string]string{"data.test/a.csv": bigCSV(1000), "data.test/b.csv.gz": gzipped(bigCSV(1000))}, version: map[string]int{}}
	online(t, Settings{MaxBytes: 15_000}, p, func(t *testing.T, s *Source) {
		_, report := syncOf(t, s, nil, spec("https://data.test/a.csv"))
		ok(t, report)
		_, report = syncOf(t, s, nil, spec("https://data.test/a.csv", "https://data.test/b.csv.gz"))
		failedWith(t, report, "larger than is allowed")
	})
	online(t, Settings{MaxFiles: 1}, p, func(t *testing.T, s *Source) {
		_, report := syncOf(t, s, nil, spec("https://data.test/a.csv", "https://data.test/b.csv.gz"))
		failedWith(t, report, "more than 1 files")
	})
}

func TestARunThatIsEndedLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &site{t: t, files: map[string]string{}, version: map[string]int{}}
		p.trouble = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true }
		s, err := New(Settings{AllowHost: anyHost})
		if err != nil {
			t.Fatal(err)
		}
		defer connect(t, s, p)()
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, errors.New("enough"))
		defer cancel()
		report, err := s.Sync(ctx, connectors.Job{Dir: t.TempDir(), Tables: []connectors.TableSpec{spec("https://data.test/a"), spec("https://data.test/b")}})
		if err == nil || err.Error() != "enough" || len(report.Tables) != 2 || report.Outcome() != connectors.Failed {
			t.Errorf("came to %+v, %v", report, err)
		}
	})
}
