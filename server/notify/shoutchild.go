package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// Shout is the body of the child process: it reads one request and delivers it.
// reach makes of the request's host part what may be connected to. It changes
// the HTTP client of the process, which is why it has one of its own.
func Shout(ctx context.Context, in io.Reader, out io.Writer, reach func(json.RawMessage) (Reach, error)) error {
	var ask shoutRequest
	if err := json.NewDecoder(io.LimitReader(in, 1<<20)).Decode(&ask); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	err := shoutNow(ctx, ask, reach)
	answer := shoutAnswer{OK: err == nil}
	if err != nil {
		var r refusal
		var wait later
		answer.Error, answer.Refused = scrub(err.Error(), ask.URL), errors.As(err, &r)
		if errors.As(err, &wait) {
			answer.After = wait.after
		}
	}
	return json.NewEncoder(out).Encode(answer)
}

func shoutNow(ctx context.Context, ask shoutRequest, reach func(json.RawMessage) (Reach, error)) error {
	within, err := reach(ask.Host)
	if err != nil {
		return err
	}
	if slices.Contains(fixed, schemeOf(ask.URL)) {
		within = within.public()
	} else if err := checkNamed(ctx, ask.URL, within); err != nil {
		return err
	}
	// Most services use these; those with a transport of their own were checked.
	seen := &witness{next: within.transport()}
	http.DefaultTransport = seen
	http.DefaultClient.Timeout, http.DefaultClient.CheckRedirect = sendTimeout, stay
	r := &router.ServiceRouter{Timeout: sendTimeout}
	r.SetLogger(log.New(io.Discard, "", 0)) // it logs URLs
	service, err := r.Locate(ask.URL)
	if err != nil {
		return fmt.Errorf("read the URL: %w", err)
	}
	scheme := schemeOf(ask.URL)
	params, title, message := types.Params{}, tame(scheme, ask.Title), tame(scheme, ask.Text)
	if titled(scheme) {
		params.SetTitle(title)
	} else {
		message = strings.TrimSpace(title + "\n" + message)
	}
	err = service.Send(cmp.Or(message, title), &params)
	if err == nil {
		err = seen.err() // Telegram's is silent of a request that did not get through
	}
	return seen.later(withoutURL(err))
}

// witness sees what comes of requests, since not every service tells.
type witness struct {
	next http.RoundTripper

	mu     sync.Mutex
	failed error // of the last request
	after  time.Duration
}

func (w *witness) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, err := w.next.RoundTrip(req)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed, w.after = err, 0
	if err == nil && answer.StatusCode >= 400 {
		w.failed = fmt.Errorf("the service answered %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
		w.after = retryAfter(answer.Header.Get("Retry-After"), time.Now())
	}
	return answer, err
}

func (w *witness) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// later adds to an error when the service wants to be asked again.
func (w *witness) later(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && w.after > 0 {
		return later{err, w.after}
	}
	return err
}

var mentions = regexp.MustCompile(`(?i)@(everyone|here|channel|all|room)\b`)

// tame keeps what others wrote, as the subject of a commit, from calling everybody
// in a chat, and from being a link under another name.
func tame(scheme, s string) string {
	s = mentions.ReplaceAllString(s, "@\u200b$1")
	if scheme == "slack" { // https://docs.slack.dev/messaging/formatting-message-text#escaping
		s = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
	}
	return s
}

// titled says whether a service shows a title apart from the text.
func titled(scheme string) bool {
	return slices.Contains([]string{"bark", "discord", "gotify", "join", "lark", "ntfy", "opsgenie", "pushbullet", "pushover", "slack", "teams", "matrix"}, scheme)
}

func schemeOf(rawURL string) string {
	scheme, _, _ := strings.Cut(rawURL, "://")
	scheme, _, _ = strings.Cut(scheme, "+")
	return scheme
}

// fixed are services whose address no URL can change.
var fixed = []string{"discord", "ifttt", "join", "notifiarr", "pushbullet", "pushover", "slack", "telegram", "wecom"}

// checkNamed asks about the server that a URL names. Some services use a transport
// of their own, which does not ask.
func checkNamed(ctx context.Context, rawURL string, within Reach) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return errors.New("read the URL: it does not parse")
	}
	host := u.Hostname()
	if schemeOf(rawURL) == "teams" { // its own host is a part of the token
		host = u.Query().Get("host")
	}
	if host == "" {
		return nil // the service's own, which its transport asks about
	}
	if within.Proxy != nil {
		return within.permitName(host)
	}
	return within.lookUp(ctx, host)
}

var anyURL = regexp.MustCompile(`[a-z][a-z0-9.+-]*://[^\s"']+`)

// pieces are the parts of a URL that may be secret, the longest first.
func pieces(rawURL string) (list []string) {
	list = append(list, rawURL)
	u, err := url.Parse(rawURL)
	if err != nil {
		return list
	}
	var parts []string
	password, _ := u.User.Password()
	parts = append(parts, u.User.Username(), password)
	if !slices.Contains(hosted, u.Scheme) {
		parts = append(parts, u.Host)
	}
	parts = append(parts, strings.Split(u.Path, "/")...)
	for _, values := range u.Query() {
		parts = append(parts, values...)
	}
	for _, p := range parts {
		list = append(list, p, url.PathEscape(p), url.QueryEscape(p))
		list = append(list, strings.FieldsFunc(p, func(c rune) bool { return strings.ContainsRune("-:/@.,", c) })...)
	}
	list = slices.DeleteFunc(list, func(s string) bool { return len(s) < 5 })
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(list)
}
