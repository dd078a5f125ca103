package forge

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// State is what is said of a commit.
type State string

// The states. Failure is of a deployment, Error of a revision that cannot be
// deployed at all.
const (
	Pending State = "pending"
	Success State = "success"
	Failure State = "failure"
	Error   State = "error"
)

// Status is the status of a commit.
type Status struct {
	Commit      string `json:"commit"`
	State       State  `json:"state"`
	Description string `json:"description"`
	Context     string `json:"context"` // one an instance, so that none overwrites another
	Target      string `json:"target,omitempty"`
}

// Site is a repository on a git host, and how its API is asked.
type Site struct {
	Provider string // github, gitlab, gitea or forgejo
	API      string // base URL: https://api.github.com, https://git.acme.com/api/v4
	Repo     string // path: acme/fleet
}

// Providers are the kinds of git hosts that are known.
func Providers() []string { return []string{"github", "gitlab", "gitea", "forgejo"} }

// SiteOf finds out where the status of a repository's commits is set. provider
// and api may be empty: they follow from the URL where the host is a known one.
func SiteOf(repo, provider, api string) (Site, error) {
	host, path, err := split(repo)
	if err != nil {
		return Site{}, err
	}
	if provider == "" {
		provider = providerOf(host)
	}
	if provider == "" {
		return Site{}, fmt.Errorf("find out what %s is: nothing in its name says so; set commitStatus.provider", host)
	}
	if api != "" {
		u, err := url.Parse(api)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return Site{}, errors.New("commitStatus.url is not the URL of an API; for example https://git.acme.com/api/v1")
		}
		return Site{provider, strings.TrimRight(api, "/"), path}, nil
	}
	base := "https://" + host
	switch {
	case provider == "github" && host == "github.com":
		base = "https://api.github.com"
	case provider == "github":
		base += "/api/v3" // GitHub Enterprise Server
	case provider == "gitlab":
		base += "/api/v4"
	default:
		base += "/api/v1"
	}
	return Site{provider, base, path}, nil
}

// split takes host and path out of https://, ssh:// and user@host:path.
func split(repo string) (host, path string, err error) {
	if u, perr := url.Parse(repo); perr == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" || u.Scheme == "ssh") {
		host, path = u.Hostname(), u.Path
		if u.Scheme != "ssh" {
			host = u.Host
		}
	} else if login, rest, both := strings.Cut(repo, ":"); both && !strings.Contains(repo, "://") && !strings.Contains(login, "/") {
		_, host, _ = strings.Cut("@"+login, "@")
		host, path = host[strings.LastIndexByte(host, '@')+1:], rest
	}
	path = strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	if host == "" || !strings.Contains(path, "/") {
		return "", "", errors.New("the repository is not on a git host: commits have no status")
	}
	return strings.ToLower(host), path, nil
}

func providerOf(host string) string {
	host, _, _ = strings.Cut(host, ":")
	switch {
	case host == "github.com", strings.HasPrefix(host, "github."):
		return "github"
	case host == "gitlab.com", strings.HasPrefix(host, "gitlab."):
		return "gitlab"
	case host == "codeberg.org", strings.HasPrefix(host, "forgejo."):
		return "forgejo"
	case host == "gitea.com", strings.HasPrefix(host, "gitea."):
		return "gitea"
	}
	return ""
}

// maxDescription is the least bound of the three.
const maxDescription = 140

// request is how a status is set.
//
// https://docs.github.com/rest/commits/statuses#create-a-commit-status
// https://docs.gitlab.com/api/commits/#set-commit-pipeline-status
// https://docs.gitea.com/api/#tag/repository/operation/repoCreateStatus
func (s Site) request(ctx context.Context, token string, st Status) (*http.Request, error) {
	st.Description = clip(st.Description)
	target, header := "", http.Header{}
	var body any
	switch s.Provider {
	case "github":
		target = s.API + "/repos/" + s.Repo + "/statuses/" + st.Commit
		header.Set("Authorization", "Bearer "+token)
		header.Set("Accept", "application/vnd.github+json")
		header.Set("X-GitHub-Api-Version", "2022-11-28")
		body = hubStatus{st.State, st.Target, st.Description, st.Context}
	case "gitlab":
		target = s.API + "/projects/" + url.PathEscape(s.Repo) + "/statuses/" + st.Commit
		header.Set("PRIVATE-TOKEN", token)
		body = labStatus{labState(st.State), st.Context, st.Target, st.Description}
	default:
		target = s.API + "/repos/" + s.Repo + "/statuses/" + st.Commit
		header.Set("Authorization", "token "+token)
		body = hubStatus{st.State, st.Target, st.Description, st.Context}
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(text))
	if err != nil {
		return nil, errors.New("the URL of the API does not parse")
	}
	header.Set("Content-Type", "application/json")
	req.Header = header
	return req, nil
}

type hubStatus struct {
	State       State  `json:"state"`
	Target      string `json:"target_url,omitempty"`
	Description string `json:"description"`
	Context     string `json:"context"`
}

type labStatus struct {
	State       string `json:"state"`
	Name        string `json:"name"`
	Target      string `json:"target_url,omitempty"`
	Description string `json:"description"`
}

// labState is a state in the words of GitLab's pipelines.
func labState(s State) string {
	switch s {
	case Pending:
		return "running"
	case Success:
		return "success"
	}
	return "failed"
}

// clip cuts at a character, not within one.
func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	runes := []rune(s)
	if len(runes) > maxDescription {
		return string(runes[:maxDescription-1]) + "…"
	}
	return s
}

// NewClient makes requests to an API: through proxy, which may be nil, and with
// these authorities trusted, nil for the system's.
func NewClient(roots *x509.CertPool, proxy func(*http.Request) (*url.URL, error)) *http.Client {
	return &http.Client{Timeout: setTimeout, Transport: &http.Transport{
		Proxy:                  proxy,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  20 * time.Second,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConnsPerHost:    1,
		MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}
}

// later is an error of a git host that says when it wants to be asked again.
type later struct {
	error
	after time.Duration
}

// hopeless is an error that another try with the same status does not mend.
type hopeless struct{ error }

const (
	maxAnswer = 64 << 10
	maxLater  = time.Hour
)

// set sets a status once.
func (s Site) set(ctx context.Context, client *http.Client, token, agent string, st Status) error {
	req, err := s.request(ctx, token, st)
	if err != nil {
		return fmt.Errorf("set status: %w", err)
	}
	req.Header.Set("User-Agent", agent)
	answer, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("set status at %s: %w", req.URL.Host, err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxAnswer)) // only for what it says of a refusal
	return s.judge(answer, text)
}

// judge says what an answer means.
func (s Site) judge(answer *http.Response, text []byte) error {
	var said struct {
		Message any `json:"message"`
	}
	_ = json.Unmarshal(text, &said) // a refusal without reason is one too
	why := ""
	if m, is := said.Message.(string); is {
		why = ": " + clip(m)
	}
	code := answer.StatusCode
	err := fmt.Errorf("set status at %s: it answered %d %s%s", answer.Request.URL.Host, code, http.StatusText(code), why)
	switch {
	case code/100 == 2:
		return nil
	case s.Provider == "gitlab" && code == http.StatusBadRequest && strings.Contains(why, "Cannot transition"):
		return nil // it says so already
	case code == http.StatusTooManyRequests, code == http.StatusForbidden && answer.Header.Get("X-RateLimit-Remaining") == "0", code == http.StatusServiceUnavailable:
		return later{err, wait(answer.Header, time.Now())}
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fmt.Errorf("%w; may the token of commitStatus.tokenFile write statuses?", err)
	case code == http.StatusNotFound, code == http.StatusUnprocessableEntity, code == http.StatusBadRequest, code/100 == 3:
		return hopeless{err}
	}
	return err
}

// wait is when a git host wants to be asked again.
func wait(h http.Header, now time.Time) time.Duration {
	if n, err := strconv.Atoi(h.Get("Retry-After")); err == nil {
		return min(max(0, time.Duration(min(n, int(maxLater/time.Second)))*time.Second), maxLater)
	}
	if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		return min(max(0, at.Sub(now)), maxLater)
	}
	if n, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		return min(max(0, time.Unix(n, 0).Sub(now)), maxLater)
	}
	return 0
}
