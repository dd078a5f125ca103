package registry

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const (
	helperTimeout = 10 * time.Second
	sessionLasts  = 15 * time.Minute
	maxSessions   = 500
)

// sessions are logins at registries. They last until the credentials, which
// are read for every question, are others.
type sessions struct {
	mu  sync.Mutex
	all map[[sha256.Size]byte]session
}

type session struct {
	client *http.Client
	made   time.Time
}

func (s *sessions) get(key [sha256.Size]byte) (*http.Client, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	had, ok := s.all[key]
	return had.client, ok && time.Since(had.made) < sessionLasts
}

func (s *sessions) put(key [sha256.Size]byte, client *http.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil || len(s.all) >= maxSessions {
		s.all = map[[sha256.Size]byte]session{}
	}
	s.all[key] = session{client, time.Now()}
}

func (s *sessions) drop(key [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, key)
}

// reply is a registry's whole answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// ask sends one request about a repository, logged in as the Docker config
// says. Anything but 200 and, with an ETag, 304 is a failure.
func (c *Client) ask(ctx context.Context, end endpoint, method, path string, accept []string, etag string) (reply, error) {
	h := c.hosts.get(end.repo.RegistryStr())
	if err := h.blocked(ctx); err != nil {
		return reply{}, err
	}
	r, err := c.askLoggedIn(ctx, h, end, method, path, accept, etag)
	k, failed := kindOf(err)
	gone := failed && (k == kindUnreachable || k == kindLocal)
	// A registry that gives manifests and no lists of tags does well enough.
	aside := failed && !gone && k != kindLimited && !strings.HasPrefix(path, "manifests/")
	if !errors.Is(ctx.Err(), context.Canceled) && !aside {
		h.settle(err)
	}
	if gone {
		h.forget()
	}
	return r, err
}

func (c *Client) askLoggedIn(ctx context.Context, h *host, end endpoint, method, path string, accept []string, etag string) (reply, error) {
	cfg, err := c.credentials(ctx, end.repo)
	if err != nil {
		return reply{}, err
	}
	hide := secretsOf(cfg)
	encoded, err := json.Marshal(cfg)
	if err != nil {
		return reply{}, local("ask %s: its credentials cannot be used", h.name)
	}
	key := sha256.Sum256([]byte(end.repo.Name() + "\n" + string(encoded)))
	client, ok := c.sessions.get(key)
	if !ok {
		reg, err := c.registryOf(end.repo.Registry)
		if err != nil {
			return reply{}, err
		}
		via, err := transport.NewWithContext(ctx, reg, authn.FromConfig(cfg), gate{c}, []string{end.repo.Scope(transport.PullScope)})
		if err != nil {
			return reply{}, limitedOr(h, unanswered(h.name, err, hide))
		}
		client = &http.Client{Transport: via, CheckRedirect: redirect}
		c.sessions.put(key, client)
	}
	r, err := send(ctx, client, end, method, path, accept, etag)
	if err != nil {
		err = unanswered(h.name, err, hide)
	} else if r.status != http.StatusOK && (r.status != http.StatusNotModified || etag == "") {
		err = answered(h.name, r.status, r.body, hide)
	}
	if err != nil && !isMissing(err) && strings.HasPrefix(path, "manifests/") {
		c.sessions.drop(key) // a login that was refused, or a registry that changed its ways
	}
	return r, limitedOr(h, err)
}

// limitedOr is the limit when the host set one just now, as whatever failed
// then failed by it.
func limitedOr(h *host, err error) error {
	if err == nil || isMissing(err) {
		return err
	}
	if limited := h.blocked(withFresh(context.Background(), true)); limited != nil {
		return limited
	}
	return err
}

func send(ctx context.Context, client *http.Client, end endpoint, method, path string, accept []string, etag string) (reply, error) {
	url := "https://" + end.repo.RegistryStr() + "/v2/" + end.repo.RepositoryStr() + "/" + path // plain HTTP is put in below
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Accept", strings.Join(accept, ", "))
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	body, err := io.ReadAll(resp.Body) // bounded by the gate
	return reply{resp.StatusCode, resp.Header, body}, errors.Join(err, resp.Body.Close())
}

// registryOf allows plain HTTP where the host's owner did.
func (c *Client) registryOf(reg name.Registry) (name.Registry, error) {
	if !c.plainAllowed(reg.RegistryStr()) {
		return reg, nil
	}
	r, err := name.NewRegistry(reg.RegistryStr(), name.Insecure)
	if err != nil {
		return reg, local("ask %s: %v", reg, err)
	}
	return r, nil
}

// credentials reads the Docker config file anew: logins change, and helpers
// hand out tokens that end.
func (c *Client) credentials(ctx context.Context, repo name.Repository) (authn.AuthConfig, error) {
	type answer struct {
		cfg *authn.AuthConfig
		err error
	}
	got := make(chan answer, 1)
	go func() { // a credential helper is a program that may hang
		a, err := authn.Resolve(ctx, c.opts.Keychain, repo)
		if err != nil {
			got <- answer{nil, err}
			return
		}
		cfg, err := authn.Authorization(ctx, a)
		got <- answer{cfg, err}
	}()
	timer := time.NewTimer(helperTimeout)
	defer timer.Stop()
	select {
	case a := <-got:
		if a.err != nil {
			return authn.AuthConfig{}, credentialsFailed(repo.RegistryStr(), a.err)
		}
		if a.cfg == nil {
			return authn.AuthConfig{}, nil
		}
		return *a.cfg, nil
	case <-timer.C:
		return authn.AuthConfig{}, local("read credentials for %s: the credential helper of the Docker config file did not answer within %s", repo.RegistryStr(), helperTimeout)
	case <-ctx.Done():
		return authn.AuthConfig{}, local("read credentials for %s: no answer in time", repo.RegistryStr())
	}
}

var helperName = regexp.MustCompile(`docker-credential-[A-Za-z0-9_.-]{1,60}`)

// credentialsFailed says what to do. What a helper printed is left out: it may
// be what it was asked for.
func credentialsFailed(registry string, err error) error {
	text := err.Error()
	helper := helperName.FindString(text)
	switch {
	case helper != "" && (strings.Contains(text, "executable file not found") || strings.Contains(text, "no such file")):
		return local("read credentials for %s: the Docker config file names the helper %s, which is not in this daemon's PATH; "+
			"install it, or take it out of credHelpers and credsStore and run docker login %s", registry, helper, registry)
	case strings.Contains(text, "error getting credentials"):
		return local("read credentials for %s: the credential helper of the Docker config file fails; "+
			"try it as the user of this daemon: echo %s | docker-credential-NAME get", registry, registry)
	}
	text, _, _ = strings.Cut(text, "out:")
	return local("read credentials for %s from the Docker config file: %s", registry, clean(text, nil))
}

// secretsOf are the texts that no error may hold.
func secretsOf(cfg authn.AuthConfig) []string {
	var all []string
	for _, s := range []string{cfg.Password, cfg.Auth, cfg.IdentityToken, cfg.RegistryToken} {
		if s != "" {
			all = append(all, s)
		}
	}
	return all
}

// headAt asks an endpoint what a tag means. An empty digest is "what the ETag
// stands for".
func (c *Client) headAt(ctx context.Context, end endpoint, tag, etag string) (headAnswer, error) {
	h := c.hosts.get(end.repo.RegistryStr())
	h.mu.Lock()
	h.status.Questions++
	h.mu.Unlock()
	if h.headless(time.Now()) {
		return c.readTag(ctx, end, tag, etag)
	}
	r, err := c.ask(ctx, end, http.MethodHead, "manifests/"+tag, manifestTypes, etag)
	if err != nil {
		return c.withoutHead(ctx, h, end, tag, etag, err)
	}
	h.answersHead()
	if r.status == http.StatusNotModified {
		return headAnswer{etag: etag}, nil
	}
	digest := r.header.Get("Docker-Content-Digest")
	kind, _, _ := strings.Cut(r.header.Get("Content-Type"), ";")
	if digest == "" || !isManifest(kind) {
		return c.readTag(ctx, end, tag, "")
	}
	if !isDigest(digest) {
		return headAnswer{}, broken("%s answers with %.80q as the digest of %s, which is none", h.name, digest, tag)
	}
	return headAnswer{digest: digest, etag: etagOf(r)}, nil
}

// withoutHead asks by GET where HEAD failed because the registry, or a proxy
// before it, does not know HEAD. Some say so (405, 501), others that there is no
// such thing; a registry that once answered HEAD means what it says.
func (c *Client) withoutHead(ctx context.Context, h *host, end endpoint, tag, etag string, failed error) (headAnswer, error) {
	status := statusOf(failed)
	refuses := status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented
	if !refuses && (status != http.StatusNotFound || !h.mayLackHead(time.Now())) {
		return headAnswer{}, failed
	}
	a, err := c.readTag(ctx, end, tag, etag)
	if err == nil || refuses && isMissing(err) {
		h.lacksHead(time.Now())
	}
	return a, err
}

// readTag hashes what a tag names, for a registry that does not say the digest.
func (c *Client) readTag(ctx context.Context, end endpoint, tag, etag string) (headAnswer, error) {
	r, err := c.ask(ctx, end, http.MethodGet, "manifests/"+tag, manifestTypes, etag)
	if err != nil {
		return headAnswer{}, err
	}
	if r.status == http.StatusNotModified {
		return headAnswer{etag: etag}, nil
	}
	sum, said := digestOfBytes(r.body), r.header.Get("Docker-Content-Digest")
	var m struct {
		SchemaVersion int `json:"schemaVersion"`
	}
	switch {
	case json.Unmarshal(r.body, &m) != nil || m.SchemaVersion == 0:
		return headAnswer{}, broken("%s answers with %d bytes that are no image manifest; is there a proxy or a login page between?",
			end.repo.RegistryStr(), len(r.body))
	case m.SchemaVersion == 1:
		return headAnswer{}, broken("%s has %s in the oldest image format (schema 1), which engines no longer take; push it again", end.repo.RegistryStr(), tag)
	case said != "" && said != sum:
		return headAnswer{}, broken("%s says that %s is %s, but its bytes are %s; they are not taken", end.repo.RegistryStr(), tag, clean(shortDigest(said), nil), shortDigest(sum))
	}
	return headAnswer{digest: sum, etag: etagOf(r)}, nil
}

// etagOf is the tag of an answer, if it is one to remember.
func etagOf(r reply) string {
	if etag := r.header.Get("ETag"); len(etag) <= 256 {
		return etag
	}
	return ""
}

func isManifest(contentType string) bool {
	contentType = strings.TrimSpace(contentType)
	for _, t := range manifestTypes {
		if t == contentType {
			return true
		}
	}
	return false
}

// mirrorsOf are the mirrors of a registry, under any name that it has.
func (c *Client) mirrorsOf(reg name.Registry) []string {
	all := c.opts.Mirrors[reg.RegistryStr()]
	if reg.RegistryStr() == name.DefaultRegistry && len(all) == 0 {
		all = c.opts.Mirrors["docker.io"]
	}
	return all
}

// mirrored is a repository at a mirror: URL is its base, and a path in it comes
// before the repository's.
func mirrored(base string, repo name.Repository) (name.Repository, error) {
	scheme, rest, found := strings.Cut(strings.TrimRight(base, "/"), "://")
	if !found || (scheme != "https" && scheme != "http") || strings.ContainsAny(rest, "@?#") {
		return name.Repository{}, local("ask a mirror of %s: a mirror is an https:// URL without user and query", repo.RegistryStr())
	}
	host, path, _ := strings.Cut(rest, "/")
	if path != "" {
		path += "/"
	}
	m, err := name.NewRepository(fmt.Sprintf("%s/%s%s", host, path, repo.RepositoryStr()))
	if err != nil || m.RegistryStr() != host {
		return name.Repository{}, local("ask a mirror of %s: %s is not the URL of a registry", repo.RegistryStr(), clean(base, nil))
	}
	return m, nil
}
