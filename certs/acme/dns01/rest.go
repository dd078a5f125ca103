package dns01

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const maxAnswer = 4 << 20

// rest asks a service over HTTPS: bounded, without redirects and without the
// proxy of the environment.
type rest struct {
	http *http.Client
	// sign puts the credentials into a request.
	sign func(ctx context.Context, r *http.Request, body []byte) error
}

func newRest(sign func(context.Context, *http.Request, []byte) error) *rest {
	return &rest{sign: sign, http: &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 20 * time.Second,
			MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true, IdleConnTimeout: 30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirected, which is not followed") },
	}}
}

// bearer signs with a token that stays the same.
func bearer(token string) func(context.Context, *http.Request, []byte) error {
	return func(_ context.Context, r *http.Request, _ []byte) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
}

// refused is an answer other than 2xx.
type refused struct {
	code int
	says string
}

func (r *refused) Error() string {
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s: %s", r.code, http.StatusText(r.code), r.says))
}

func isCode(err error, codes ...int) bool {
	var r *refused
	if !errors.As(err, &r) {
		return false
	}
	for _, c := range codes {
		if r.code == c {
			return true
		}
	}
	return false
}

// call sends in as JSON, unless it is a reader's bytes or nil, and reads JSON or
// XML into out. The header of a refusal is returned as well.
func (c *rest) call(ctx context.Context, method, address string, h http.Header, in, out any) (http.Header, error) {
	body, kind, err := encode(in)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for k, v := range h {
		r.Header[k] = v
	}
	r.Header.Set("User-Agent", "fairlead")
	if len(body) > 0 {
		r.Header.Set("Content-Type", kind)
	}
	if c.sign != nil {
		if err := c.sign(ctx, r, body); err != nil {
			return nil, fmt.Errorf("log in: %w", err)
		}
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, withoutQuery(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return resp.Header, fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return resp.Header, &refused{resp.StatusCode, brief(answer)}
	}
	return resp.Header, decode(resp.Header, answer, out)
}

func encode(in any) (body []byte, kind string, err error) {
	switch v := in.(type) {
	case nil:
		return nil, "", nil
	case url.Values:
		return []byte(v.Encode()), "application/x-www-form-urlencoded", nil
	case xmlBody:
		body, err = xml.Marshal(v.any)
		return append([]byte(xml.Header), body...), "application/xml", err
	}
	body, err = json.Marshal(in)
	return body, "application/json", err
}

// text is an answer that is neither JSON nor XML.
type text string

// xmlBody is sent as XML.
type xmlBody struct{ any }

func decode(h http.Header, answer []byte, out any) (err error) {
	plain, isText := out.(*text)
	switch {
	case out == nil:
		return nil
	case isText:
		*plain = text(answer)
	case strings.Contains(h.Get("Content-Type"), "xml"):
		err = xml.Unmarshal(answer, out)
	default:
		err = json.Unmarshal(answer, out)
	}
	if err != nil {
		return fmt.Errorf("understand answer: %w", err)
	}
	return nil
}

// brief is an answer for people, in one line.
func brief(text []byte) string {
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "?")), " ")
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}

func withoutQuery(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		if parsed, bad := url.Parse(u.URL); bad == nil {
			return fmt.Errorf("%s %s: %w", u.Op, parsed.Host, u.Err)
		}
	}
	return err
}
