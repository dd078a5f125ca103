package keboola

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors/internal/rest"
)

const (
	maxManifest = 64 << 20
	maxSlices   = 100_000
)

// exported is a file of the service's file storage, with what it takes to read it.
type exported struct {
	ID       number `json:"id"`
	IsSliced bool   `json:"isSliced"`
	URL      string `json:"url"` // signed: of the file, or of the manifest of a sliced one
	Region   string `json:"region"`
	Size     *int64 `json:"sizeBytes"`
	S3Path   struct {
		Bucket string `json:"bucket"`
	} `json:"s3Path"`
	Credentials struct {
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string `json:"SecretAccessKey"`
		SessionToken    string `json:"SessionToken"`
	} `json:"credentials"`
	GCSPath struct {
		Bucket string `json:"bucket"`
	} `json:"gcsPath"`
	GCSCredentials struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
	} `json:"gcsCredentials"`
	ABSPath struct {
		Container string `json:"container"`
	} `json:"absPath"`
	ABSCredentials struct {
		SAS string `json:"SASConnectionString"`
	} `json:"absCredentials"`
}

// file asks for a file with credentials for its slices.
func (s *Source) file(ctx context.Context, id number) (f exported, err error) {
	if err := s.get(ctx, "files/"+string(id), url.Values{"federationToken": {"1"}}, &f); err != nil {
		return f, fmt.Errorf("find file %s: %w", id, err)
	}
	if f.URL == "" {
		return f, fmt.Errorf("find file %s: it has no address", id)
	}
	return f, nil
}

// slices reads the manifest of a sliced file: the slices in their natural order.
func (s *Source) slices(ctx context.Context, f exported) ([]string, error) {
	var found []string
	err := s.http.Do(ctx, s.signed(f.URL), func(answer *http.Response) error {
		data, err := io.ReadAll(rest.Bounded(answer.Body, maxManifest))
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if found, err = parseManifest(data); err != nil {
			return rest.Permanent(err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return found, nil
}

// parseManifest reads the list of slices and puts them into their natural order:
// {"entries": [{"url": "s3://bucket/key"}]}.
func parseManifest(data []byte) ([]string, error) {
	var manifest struct {
		Entries []struct {
			URL string `json:"url"`
		} `json:"entries"`
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, errors.New("it is no JSON that lists slices")
	}
	if manifest.Entries == nil || len(manifest.Entries) > maxSlices {
		return nil, fmt.Errorf("it lists %d slices", len(manifest.Entries))
	}
	found := make([]string, 0, len(manifest.Entries))
	for _, e := range manifest.Entries {
		if e.URL == "" {
			return nil, errors.New("it lists a slice without an address")
		}
		found = append(found, e.URL)
	}
	slices.SortFunc(found, natural)
	if len(slices.Compact(slices.Clone(found))) != len(found) {
		return nil, errors.New("it lists a slice twice")
	}
	return found, nil
}

// natural orders addresses as people count: slice 2 before slice 10.
func natural(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		if digit(x[0]) && digit(y[0]) {
			var m, n string
			m, x = digits(x)
			n, y = digits(y)
			if len(m) != len(n) {
				return len(m) - len(n)
			}
			if m != n {
				return strings.Compare(m, n)
			}
			continue
		}
		if x[0] != y[0] {
			return int(x[0]) - int(y[0])
		}
		x, y = x[1:], y[1:]
	}
	if len(x) != len(y) {
		return len(x) - len(y)
	}
	return strings.Compare(a, b) // 01 and 1 are not the same
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// digits takes a number off the front, without its leading zeros.
func digits(s string) (number, rest string) {
	end := 0
	for end < len(s) && digit(s[end]) {
		end++
	}
	return strings.TrimLeft(s[:end], "0"), s[end:]
}

// signed asks for an address that needs nothing more.
func (s *Source) signed(address string) func(context.Context) (*http.Request, error) {
	return func(ctx context.Context) (*http.Request, error) {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != s.base.Scheme) {
			return nil, errors.New("the file has an address that is not https")
		}
		return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	}
}

// slice asks for one slice of a file at the store where it is. Credentials go to
// that store alone, and only for what is in the file's own bucket.
func (s *Source) slice(f exported, address string) func(context.Context) (*http.Request, error) {
	scheme, rest, _ := strings.Cut(address, "://")
	host, key, _ := strings.Cut(rest, "/")
	azure := strings.HasSuffix(host, ".blob.core.windows.net")
	switch {
	case scheme == "s3" && key != "":
		return func(ctx context.Context) (*http.Request, error) { return f.fromS3(ctx, host, key, time.Now()) }
	case scheme == "gs" && key != "":
		return func(ctx context.Context) (*http.Request, error) { return f.fromGCS(ctx, host, key) }
	case azure && (scheme == "azure" || scheme == "https") && !strings.Contains(key, "?"):
		return func(ctx context.Context) (*http.Request, error) { return f.fromABS(ctx, host, key) }
	case scheme == "https" || scheme == "http":
		return s.signed(address)
	}
	return func(context.Context) (*http.Request, error) {
		return nil, fmt.Errorf("a slice in a store of unknown kind %q", rest)
	}
}

func (f exported) fromGCS(ctx context.Context, bucket, key string) (*http.Request, error) {
	if bucket != f.GCSPath.Bucket || f.GCSCredentials.AccessToken == "" {
		return nil, errors.New("a slice in a bucket of Google that the file has no access to")
	}
	req, err := object(ctx, "storage.googleapis.com", bucket+"/"+key, "")
	if err == nil {
		req.Header.Set("Authorization", "Bearer "+f.GCSCredentials.AccessToken)
	}
	return req, err
}

// fromABS signs with the shared access signature: BlobEndpoint=…;SharedAccessSignature=….
func (f exported) fromABS(ctx context.Context, host, path string) (*http.Request, error) {
	endpoint, signature := "", ""
	for part := range strings.SplitSeq(f.ABSCredentials.SAS, ";") {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "BlobEndpoint":
			endpoint = strings.TrimRight(value, "/")
		case "SharedAccessSignature":
			signature = strings.TrimPrefix(value, "?")
		}
	}
	container, _, _ := strings.Cut(path, "/")
	if endpoint != "https://"+host || container != f.ABSPath.Container || signature == "" {
		return nil, errors.New("a slice in a container of Azure that the file has no access to")
	}
	return object(ctx, host, path, signature)
}

// object asks for a key of a store; each byte that is not plain is escaped, as
// signatures want it.
func object(ctx context.Context, host, path, query string) (*http.Request, error) {
	u := &url.URL{Scheme: "https", Host: host, Path: "/" + path, RawPath: "/" + escape(path), RawQuery: query}
	return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
}

// escape is the URI encoding of AWS Signature Version 4, for a path.
func escape(path string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || digit(c) || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}
