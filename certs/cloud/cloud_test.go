package cloud

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestSign holds the signature against examples that AWS has published: of
// aws-sig-v4-test-suite (get-vanilla, get-vanilla-query-order-key-case), and of
// the guide to S3.
func TestSign(t *testing.T) {
	suite := Keys{ID: "AKIDEXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
	guide := Keys{ID: "AKIAIOSFODNN7EXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	body := http.Header{"X-Amz-Content-Sha256": {Sum(nil)}}
	part := body.Clone()
	part.Set("Range", "bytes=0-9")
	for _, c := range []struct {
		keys    Keys
		service string
		at      time.Time
		url     string
		header  http.Header
		want    string
	}{
		{suite, "service", time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC), "https://example.amazonaws.com/", http.Header{},
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{suite, "service", time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC), "https://example.amazonaws.com/?Param2=value2&Param1=value1", http.Header{},
			"b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{guide, "s3", time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC), "https://examplebucket.s3.amazonaws.com/?lifecycle", body.Clone(),
			"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
		{guide, "s3", time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC), "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J", body.Clone(),
			"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
		{guide, "s3", time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC), "https://examplebucket.s3.amazonaws.com/test.txt", part,
			"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
	} {
		r, err := http.NewRequest(http.MethodGet, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := c.keys.Sign(r.Method, r.URL, c.header, nil, "us-east-1", c.service, c.at)
		if got != c.want || !strings.HasSuffix(c.header.Get("Authorization"), "Signature="+got) {
			t.Errorf("%s: signature %s, want %s", c.url, got, c.want)
		}
	}
}

// TestReadAccount says what is wrong with a file, and quotes nothing of it.
func TestReadAccount(t *testing.T) {
	for text, want := range map[string]string{
		"s3cret":                      "is not the key of a service account",
		`{"type": "authorized_user"}`: "is not the key of a service account",
		`{"type": "service_account", "private_key": "s3cret"}`:                                                             "holds no private key",
		`{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nczNjcmV0\n-----END PRIVATE KEY-----\n"}`: "does not parse",
	} {
		if _, err := ReadAccount([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// FuzzToken takes what a service may send: a token that is taken can be sent,
// and ends within a day.
func FuzzToken(f *testing.F) {
	for _, seed := range []string{
		`{"access_token": "t", "expires_in": 3599}`, `{"access_token": "t", "expires_in": "3599"}`, `{"access_token": "t", "expires_in": 1e99}`,
		`{"access_token": "t", "expires_in": -1}`, `{"access_token": "t", "expires_in": null}`, `{"access_token": "a\nb"}`, `{}`,
	} {
		f.Add([]byte(seed))
	}
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text []byte) {
		var a Token
		if json.Unmarshal(text, &a) != nil {
			return
		}
		until, err := a.Until(now)
		if err == nil && (a.Value == "" || strings.ContainsAny(a.Value, "\r\n ") || until.Before(now) || until.After(now.Add(24*time.Hour))) {
			t.Errorf("%s: %q until %s", text, a.Value, until)
		}
	})
}
