package rest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	tries       = 5
	firstPause  = time.Second
	longestWait = 15 * time.Minute // that a service may ask for
	maxMessage  = 4 << 10          // of a refusal that is quoted
)

// Client asks a service. It is safe for several goroutines.
type Client struct {
	HTTP *http.Client
	// Secrets are taken out of whatever a service says before it is quoted.
	Secrets []string
	// Retry is told of each try that failed and is made again; it may be nil.
	Retry func(err error, after time.Duration)
	// Tries is how often is asked at most; 5 when it is 0.
	Tries int
}

// New makes a client that follows no redirect and speaks to no link-local
// address. An answer has to begin within a minute.
func New(secrets ...string) *Client {
	return build(secrets, http.ProxyFromEnvironment, refuseLinkLocal, time.Minute)
}

// Close gives back the connections that are idle.
func (c *Client) Close() { c.HTTP.CloseIdleConnections() }

// Status is an answer that is no success.
type Status struct {
	Code    int
	Message string // what the service said, shortened, without secrets
	Reason  string // of Google's services: the word for what is wrong, as rateLimitExceeded
	Header  http.Header
}

func (s *Status) Error() string {
	if s.Message == "" {
		return fmt.Sprintf("%d %s", s.Code, http.StatusText(s.Code))
	}
	return fmt.Sprintf("%d %s: %s", s.Code, http.StatusText(s.Code), s.Message)
}

// Code is the status that an error came from; 0 when it came from none.
func Code(err error) int {
	if s, ok := errors.AsType[*Status](err); ok {
		return s.Code
	}
	return 0
}

// permanent is a failure that another try does not mend.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent marks an error of a use function: it is not tried again.
func Permanent(err error) error { return permanent{err} }

// IsPermanent reports whether an error was marked so.
func IsPermanent(err error) bool {
	_, is := errors.AsType[permanent](err)
	return is
}

// Do asks and hands a good answer's body to use; a connection that breaks while
// use reads counts as a failed try, and use is then called again from the start.
func (c *Client) Do(ctx context.Context, ask func(context.Context) (*http.Request, error), use func(*http.Response) error) error {
	return c.repeat(ctx, func() error { return c.once(ctx, ask, use) })
}

// Open asks as Do does, and gives the good answer with its body open: the caller
// closes it, and has to see itself to a connection that breaks later.
func (c *Client) Open(ctx context.Context, ask func(context.Context) (*http.Request, error)) (answer *http.Response, err error) {
	err = c.repeat(ctx, func() error {
		answer, _, err = c.open(ctx, ask)
		return err
	})
	return answer, err
}

func (c *Client) repeat(ctx context.Context, once func() error) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := once()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if try == cmp.Or(c.Tries, tries) || !again(err) {
			return err
		}
		wait := pause + rand.N(pause/2)
		if asked := askedToWait(err, time.Now()); asked > longestWait {
			return fmt.Errorf("%w (it asks to be left alone for %s)", err, asked.Round(time.Second))
		} else if asked > 0 {
			wait = asked
		}
		if c.Retry != nil {
			c.Retry(err, wait)
		}
		if err := Sleep(ctx, wait); err != nil {
			return err
		}
		pause *= 2
	}
}

// Sleep waits, or returns the cause that ctx ended with.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

func (c *Client) once(ctx context.Context, ask func(context.Context) (*http.Request, error), use func(*http.Response) error) error {
	answer, where, err := c.open(ctx, ask)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if err := use(answer); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

func (c *Client) open(ctx context.Context, ask func(context.Context) (*http.Request, error)) (answer *http.Response, where string, err error) {
	req, err := ask(ctx)
	if err != nil {
		return nil, "", Permanent(err)
	}
	where = req.Method + " " + Address(req.URL)
	answer, err = c.HTTP.Do(req)
	if err != nil {
		return nil, where, fmt.Errorf("%s: %w", where, c.quiet(err))
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		defer answer.Body.Close()
		return nil, where, fmt.Errorf("%s: %w", where, c.refusal(answer))
	}
	return answer, where, nil
}

// quiet takes the address, which may be a signed one, and secrets out of an
// error of net/http.
func (c *Client) quiet(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if text := c.Scrub(err.Error()); text != err.Error() {
		return errors.New(text)
	}
	return err
}

func (c *Client) refusal(answer *http.Response) *Status {
	said, _ := io.ReadAll(io.LimitReader(answer.Body, maxMessage))
	s := &Status{Code: answer.StatusCode, Header: answer.Header.Clone()}
	if answer.StatusCode >= 300 && answer.StatusCode < 400 {
		s.Message = "a redirect, which is not followed"
		return s
	}
	said = scrub(said, answer.Request)
	text, reason := googleMessage(said)
	s.Message, s.Reason = c.Scrub(cmp.Or(text, message(said))), reason
	return s
}

// scrub takes out of what a service said what the question had of signatures and
// credentials: object stores quote it.
func scrub(said []byte, req *http.Request) []byte {
	if req == nil {
		return said
	}
	hide := []string{req.URL.RawQuery}
	for _, values := range req.URL.Query() {
		hide = append(hide, values...)
	}
	for _, name := range []string{"Authorization", "X-Amz-Security-Token"} {
		hide = append(hide, strings.Fields(req.Header.Get(name))...)
	}
	text := string(said)
	for _, secret := range hide {
		if len(secret) >= 16 {
			text = strings.ReplaceAll(text, secret, "(sensitive)")
		}
	}
	return []byte(text)
}

// message is what a refusal says, in the forms that services have for it.
func message(said []byte) string {
	var form struct {
		Error         json.RawMessage   `json:"error"`
		Message       string            `json:"message"`
		Reason        string            `json:"reason"`
		ErrorMessages []string          `json:"errorMessages"`
		Errors        map[string]string `json:"errors"`
	}
	if json.Unmarshal(said, &form) != nil {
		return ""
	}
	var text string
	_ = json.Unmarshal(form.Error, &text) // an object has its own message
	parts := append([]string{form.Message, text, form.Reason}, form.ErrorMessages...)
	for _, field := range slices.Sorted(maps.Keys(form.Errors)) {
		parts = append(parts, field+": "+form.Errors[field])
	}
	return Short(strings.Join(nonEmpty(parts), "; "))
}

// googleMessage is what a refusal of a service of Google's says: its words, and
// the reason (https://cloud.google.com/bigquery/docs/error-messages).
func googleMessage(said []byte) (text, reason string) {
	var form struct {
		Error struct {
			Message string `json:"message"`
			Errors  []struct {
				Reason string `json:"reason"`
			} `json:"errors"`
		} `json:"error"`
	}
	if json.Unmarshal(said, &form) != nil {
		return "", ""
	}
	if len(form.Error.Errors) > 0 {
		reason = Short(form.Error.Errors[0].Reason)
	}
	return Short(form.Error.Message), reason
}

// Reason is the word of one of Google's services that an error came from; empty
// when it came from none.
func Reason(err error) string {
	if s, ok := errors.AsType[*Status](err); ok {
		return s.Reason
	}
	return ""
}

func nonEmpty(in []string) (out []string) {
	for _, s := range in {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// Short makes one line of at most 300 bytes of what a service said.
func Short(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " ")
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}

// Scrub takes the secrets out of a text.
func (c *Client) Scrub(s string) string {
	for _, secret := range c.Secrets {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, "(sensitive)")
		}
	}
	return s
}

// Address is a URL as it may be shown: without user, query and fragment, where
// signatures and tokens are.
func Address(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// again reports whether another try makes sense: of a connection that failed or
// broke, too many requests, and a service's own trouble.
func again(err error) bool {
	if IsPermanent(err) {
		return false
	}
	switch code := Code(err); code {
	case 0, http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case http.StatusForbidden: // is not only that of a right that is missing
		reason := Reason(err)
		return strings.HasSuffix(strings.ToLower(reason), "ratelimitexceeded") || reason == "quotaExceeded"
	}
	return false
}

// askedToWait is how long an answer asks to be left alone: RFC 9110 §10.2.3,
// seconds or a date.
func askedToWait(err error, now time.Time) time.Duration {
	s, ok := errors.AsType[*Status](err)
	if !ok {
		return 0
	}
	text := strings.TrimSpace(s.Header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// Bounded reads at most max bytes, and what is more is an error instead of an end.
func Bounded(r io.Reader, max int64) io.Reader { return &bounded{r, max} }

type bounded struct {
	from io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, Permanent(errors.New("the answer is larger than is allowed"))
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.from.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, Permanent(errors.New("the answer is larger than is allowed"))
	}
	return n, err
}

// JSON decodes an answer of at most max bytes.
func JSON(out any, max int64) func(*http.Response) error {
	return func(answer *http.Response) error {
		if kind := answer.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/html") {
			return Permanent(errors.New("the answer is a page of HTML, not JSON"))
		}
		data, err := io.ReadAll(Bounded(answer.Body, max))
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		if err := json.Unmarshal(data, out); err != nil {
			return Permanent(fmt.Errorf("decode answer: %w", err))
		}
		return nil
	}
}

// Base checks the address of a service: https, a host, nothing that could hold a
// secret; plain http is for this machine alone.
func Base(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil {
		return nil, errors.New("url: not an address")
	}
	local := u.Hostname() == "localhost"
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		local = ip.IsLoopback()
	}
	switch {
	case u.Host == "" || u.Opaque != "":
		return nil, errors.New("url: no host; write https://HOST")
	case u.Scheme != "https" && (u.Scheme != "http" || !local):
		return nil, errors.New("url: must begin with https://")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("url: must have no user, query or fragment")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}
