package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestBase(t *testing.T) {
	for raw, good := range map[string]bool{
		"https://a.b": true, "https://a.b/jira/": true, "http://127.0.0.1:80": true, "http://localhost": true, "http://[::1]:1": true,
		"http://a.b": false, "ftp://a.b": false, "https://": false, "a.b": false, "https://u:p@a.b": false, "https://a.b?x=1": false, "https://a.b#x": false, "http://127.0.0.1.evil.com": false, "": false,
	} {
		if _, err := Base(raw); (err == nil) != good {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "0": 0, "-3": 0, "soon": 0, "99999999999999999999": 0,
		"Thu, 01 Jan 2026 00:01:00 GMT": time.Minute, "Thu, 01 Jan 2015 00:01:00 GMT": 0,
	} {
		err := fmt.Errorf("x: %w", &Status{Code: 429, Header: http.Header{"Retry-After": {text}}})
		if got := askedToWait(err, now); got != want {
			t.Errorf("%q asks for %s, not %s", text, got, want)
		}
	}
}

func TestLinkLocalAddressesAreRefused(t *testing.T) {
	for address, good := range map[string]bool{
		"169.254.169.254:80": false, "[fe80::1]:80": false, "[::ffff:169.254.169.254]:80": false, "0.0.0.0:80": false, "224.0.0.1:80": false, "10.0.0.1:443": true, "127.0.0.1:443": true,
	} {
		if _, err := netip.ParseAddrPort(address); err != nil {
			t.Fatal(err)
		}
		if err := refuseLinkLocal("tcp", address, nil); (err == nil) != good {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestErrorsShowNothingSecret: an address is named without its query, and what a
// service quotes of the question is taken out.
func TestErrorsShowNothingSecret(t *testing.T) {
	const signature = "X-Amz-Signature=0123456789abcdef0123456789abcdef"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, `{"message": "%s %s is wrong, and so is my-secret-token"}`, r.Header.Get("Authorization"), r.URL.RawQuery)
	}))
	ask := func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/file?"+signature, nil)
		if err == nil {
			req.Header.Set("Authorization", "Bearer abcdefghijklmnopqrstuvwxyz")
		}
		return req, err
	}
	c := New("my-secret-token")
	refused := c.Do(t.Context(), ask, func(*http.Response) error { return nil })
	server.Close()
	_, err := c.HTTP.Get(server.URL + "/file?" + signature) // nobody listens: net/http names the whole address
	broken := c.quiet(err)
	for _, err := range []error{refused, broken} {
		for _, secret := range []string{"0123456789abcdef", "abcdefghijklm", "my-secret"} {
			if err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("the error is %v", err)
			}
		}
	}
	if Code(refused) != http.StatusForbidden || !strings.Contains(refused.Error(), "/file") {
		t.Errorf("the error is %v", refused)
	}
}

func TestRefusalsOfGoogleSayWhyAndAreTriedAgainForRates(t *testing.T) {
	for reason, want := range map[string]bool{"rateLimitExceeded": true, "userRateLimitExceeded": true, "jobRateLimitExceeded": true, "quotaExceeded": true, "accessDenied": false, "": false} {
		text, got := googleMessage([]byte(`{"error": {"code": 403, "message": "No. ", "errors": [{"reason": "` + reason + `", "message": "x"}], "status": "X"}}`))
		err := fmt.Errorf("x: %w", &Status{Code: 403, Message: text, Reason: got})
		if text != "No." || Reason(err) != reason || again(err) != want {
			t.Errorf("%s: %q, %q, again %v", reason, text, got, again(err))
		}
	}
}

func TestBounded(t *testing.T) {
	for size, good := range map[int64]bool{9: false, 10: true, 11: true, 0: false, -1: false} {
		data, err := io.ReadAll(Bounded(strings.NewReader("0123456789"), size))
		if (err == nil) != good || (good && len(data) != 10) || int64(len(data)) > max(size, 0) && !good {
			t.Errorf("%d: %q, %v", size, data, err)
		}
		if err != nil && again(err) {
			t.Errorf("%d: what is too large is asked for again", size)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"error":"no","message":"m","errors":{"a":"b"}}`))
	f.Add([]byte(`{"error":{"message":"x"},"errorMessages":["y"]}`))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, said []byte) {
		if got := message(said); len(got) > 310 || strings.ContainsAny(got, "\r\n") {
			t.Errorf("made %q", got)
		}
		if text, reason := googleMessage(said); len(text) > 310 || len(reason) > 310 {
			t.Errorf("made %q, %q", text, reason)
		}
		_ = errors.Is(refuseLinkLocal("tcp", string(said), nil), io.EOF)
	})
}

// TestBehindAProxyNamesAreAskedAbout: it is the proxy that connects, so that the
// name is all there is to ask about.
func TestBehindAProxyNamesAreAskedAbout(t *testing.T) {
	asked := 0
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer proxy.Close()
	through, _ := url.Parse(proxy.URL)
	var names []string
	c := Guarded(func(host string, at netip.Addr) error {
		if names = append(names, host); at.IsValid() || host != "good.example" {
			return errors.New("no")
		}
		return nil
	}, http.ProxyURL(through))
	for host, want := range map[string]int{"good.example": 1, "evil.example": 0} {
		asked = 0
		err := c.Do(t.Context(), func(ctx context.Context) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/", nil)
		}, func(*http.Response) error { return nil })
		if asked != want || (err == nil) != (want == 1) || err != nil && !IsPermanent(err) {
			t.Errorf("%s: asked %d times, %v", host, asked, err)
		}
	}
	if len(names) != 2 {
		t.Errorf("asked about %q", names)
	}
}
