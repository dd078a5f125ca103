package files

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/fairlead/fairlead/certs/cloud"
	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
	"github.com/fairlead/fairlead/desired"
)

const maxPage = 16 << 20 // of a list of objects

var regionRegexp = regexp.MustCompile(`^[a-z0-9-]{2,40}$`)

// s3 reads buckets of AWS, or of a store that speaks S3.
type s3 struct {
	*Source
	http   *rest.Client
	base   *url.URL // of a store; nil: AWS
	region string   // empty: that of the environment or the machine
	id     *identity
}

func (s *Source) openS3() (*s3, error) {
	set := desired.S3Access{}
	if s.settings.S3 != nil {
		set = *s.settings.S3
	}
	out := &s3{Source: s, http: s.cloud, region: set.Region}
	if set.Endpoint != "" {
		base, err := rest.Base(set.Endpoint)
		if err != nil {
			return nil, fmt.Errorf("s3.endpoint: %w", err)
		}
		out.base, out.http = base, s.web
		out.region = cmp.Or(set.Region, "us-east-1") // what stores without regions take
	}
	if out.region != "" && !regionRegexp.MatchString(out.region) {
		return nil, errors.New("s3.region: is no region; for example eu-central-1")
	}
	if (set.AccessKey == "") != (set.SecretKey == "") {
		return nil, connectors.WithHint(errors.New("s3: accessKey and secretKey go together"), "Set both, or none for the role of this machine")
	}
	var err error
	out.id, err = newIdentity(s.settings, set)
	return out, err
}

// where is the region of the bucket, as it is known before asking.
func (s *s3) where(ctx context.Context) (string, error) {
	if s.region != "" {
		return s.region, nil
	}
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if r, ok := s.settings.Env(name); ok && regionRegexp.MatchString(r) {
			return r, nil
		}
	}
	r, err := s.id.machine(ctx, "placement/region")
	if r = strings.TrimSpace(r); err == nil && !regionRegexp.MatchString(r) {
		err = errors.New("the machine does not say its region")
	}
	if err != nil {
		return "", connectors.WithHint(fmt.Errorf("find the region: %w", err), "Set s3.region to that of the bucket")
	}
	s.region = r
	return r, nil
}

// ask makes a signed request for a key of a bucket; none lists the bucket.
func (s *s3) ask(bucket, key string, query url.Values, change func(*http.Request)) func(context.Context) (*http.Request, error) {
	return func(ctx context.Context) (*http.Request, error) {
		region, err := s.where(ctx)
		if err != nil {
			return nil, err
		}
		keys, err := s.id.keys(ctx)
		if err != nil {
			return nil, err
		}
		u := s.address(bucket, key, region)
		if s.base != nil {
			if err := s.settings.AllowHost(u.Hostname(), netip.Addr{}); err != nil {
				return nil, fmt.Errorf("host %s: %w", u.Hostname(), err)
			}
		}
		u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return nil, errors.New("the name makes no address")
		}
		if change != nil {
			change(req)
		}
		req.Header.Set("X-Amz-Content-Sha256", cloud.Sum(nil))
		keys.Sign(req.Method, req.URL, req.Header, nil, region, "s3", time.Now())
		return req, nil
	}
}

// address has the bucket in the name of the host at AWS, where that is covered by
// the certificate: a bucket with dots is not.
func (s *s3) address(bucket, key, region string) *url.URL {
	u := &url.URL{Scheme: "https", Host: "s3." + region + ".amazonaws.com", Path: "/" + key}
	if strings.HasPrefix(region, "cn-") {
		u.Host += ".cn"
	}
	switch {
	case s.base != nil:
		u.Scheme, u.Host, u.Path = s.base.Scheme, s.base.Host, s.base.Path+"/"+bucket+"/"+key
	case strings.Contains(bucket, "."):
		u.Path = "/" + bucket + u.Path
	default:
		u.Host = bucket + "." + u.Host
	}
	u.RawPath = escape(u.Path)
	return u
}

// escape is the URI encoding of AWS Signature Version 4, for a path.
func escape(path string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String()
}

// listing is an answer of ListObjectsV2.
type listing struct {
	IsTruncated           bool
	NextContinuationToken string
	EncodingType          string
	Contents              []struct {
		Key          string
		Size         int64
		ETag         string
		LastModified time.Time
	}
}

func (s *s3) list(ctx context.Context, p place, each func(object) error) error {
	query := url.Values{"list-type": {"2"}, "encoding-type": {"url"}, "prefix": {prefix(p.pattern)}}
	if !p.glob() {
		query.Set("prefix", p.pattern)
		query.Set("max-keys", "1") // the name itself comes before all that it begins
	}
	for last := ""; ; {
		var page listing
		err := s.http.Do(ctx, s.ask(p.bucket, "", query, nil), func(answer *http.Response) error {
			page = listing{}
			if err := xml.NewDecoder(rest.Bounded(answer.Body, maxPage)).Decode(&page); err != nil {
				return fmt.Errorf("decode the list: %w", err)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("list s3://%s: %w", p.bucket, s.advise(err))
		}
		found, err := page.each(p, each)
		if err != nil || found || !p.glob() {
			return missing(found, p, err)
		}
		next := page.NextContinuationToken
		if !page.IsTruncated {
			return nil
		}
		if next == "" || next == last {
			return fmt.Errorf("list s3://%s: the list does not go on", p.bucket)
		}
		last = next
		query.Set("continuation-token", next)
	}
}

func missing(found bool, p place, err error) error {
	if err == nil && !found && !p.glob() {
		return errMissing
	}
	return err
}

// each passes on what matches; found says that it was the one that was wanted.
func (l listing) each(p place, each func(object) error) (found bool, err error) {
	for _, c := range l.Contents {
		key := c.Key
		if l.EncodingType == "url" {
			if key, err = url.QueryUnescape(c.Key); err != nil {
				return false, fmt.Errorf("list s3://%s: a name is not encoded as was asked for", p.bucket)
			}
		}
		if p.glob() && !match(p.pattern, key) || !p.glob() && key != p.pattern || strings.HasSuffix(key, "/") {
			continue
		}
		o := object{place: p, name: key, shown: "s3://" + p.bucket + "/" + key, size: c.Size, tag: c.ETag, exact: c.ETag != "", modified: c.LastModified}
		if o.tag == "" {
			o.tag = fmt.Sprintf("%d-%d", c.Size, c.LastModified.UnixNano())
		}
		if err := each(o); err != nil {
			return false, err
		}
		found = !p.glob()
	}
	return found, nil
}

func (s *s3) open(ctx context.Context, o *object, offset int64) (io.ReadCloser, error) {
	answer, err := s.http.Open(ctx, s.ask(o.place.bucket, o.name, nil, func(req *http.Request) {
		if o.exact {
			req.Header.Set("If-Match", o.tag)
		}
		if offset > 0 {
			resume(req, offset)
		}
	}))
	switch {
	case err != nil && rest.Code(err) == http.StatusNotFound:
		return nil, errChanged // it was in the list
	case err != nil:
		return nil, s.advise(err)
	case offset > 0:
		return middle(answer, o, offset)
	}
	return answer.Body, nil
}

// advise adds what S3's own answers mean.
func (s *s3) advise(err error) error {
	status, ok := errors.AsType[*rest.Status](err)
	if !ok {
		return err
	}
	if region := status.Header.Get("X-Amz-Bucket-Region"); region != "" && regionRegexp.MatchString(region) && region != s.region {
		return connectors.WithHint(fmt.Errorf("%w: the bucket is in %s", err, region), "Set s3.region to "+region)
	}
	switch status.Code {
	case http.StatusForbidden, http.StatusUnauthorized, http.StatusBadRequest:
		return connectors.WithHint(err, "See that "+s.id.who()+" is right and may do s3:ListBucket on the bucket and s3:GetObject on what is in it, and that the clock of this host is right")
	case http.StatusNotFound:
		return connectors.WithHint(err, "There is no such bucket: see that its name and s3.endpoint are right")
	}
	return advise(err)
}
