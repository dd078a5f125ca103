package hooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Providers are those that tell of pushes.
func Providers() []string {
	return []string{"github", "gitlab", "gitea", "forgejo", "bitbucket", "generic"}
}

// Registry is the provider of what registries send.
const Registry = "registry"

// proofs are how each provider shows that it knows the secret, the strongest
// first: a header with an HMAC of the body, or one with the secret itself.
type proofs struct {
	signatures []signature
	tokens     []string
	// standard says that it may sign as Standard Webhooks has it.
	standard bool
	// query lets the secret stand in the URL, for those who can send no header.
	query bool
}

type signature struct {
	header string
	prefix string // before the hexadecimal digits
	// timestamp is a header whose value is signed with the body.
	timestamp string
}

const ownTimestamp = "X-Fairlead-Timestamp"

func proofsOf(provider string) (proofs, bool) {
	hub := signature{header: "X-Hub-Signature-256", prefix: "sha256="}
	own := signature{header: "X-Fairlead-Signature", prefix: "sha256=", timestamp: ownTimestamp}
	all := map[string]proofs{
		// https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
		"github": {signatures: []signature{hub}},
		// https://docs.gitlab.com/user/project/integrations/webhooks/
		// its signing token: https://gitlab.com/gitlab-org/gitlab/-/merge_requests/230944
		"gitlab": {standard: true, tokens: []string{"X-Gitlab-Token"}},
		// https://docs.gitea.com/usage/webhooks
		"gitea": {signatures: []signature{{header: "X-Gitea-Signature"}, hub}},
		// https://forgejo.org/docs/latest/user/webhooks/
		"forgejo": {signatures: []signature{{header: "X-Forgejo-Signature"}, {header: "X-Gitea-Signature"}, hub}},
		// https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
		"bitbucket": {signatures: []signature{{header: "X-Hub-Signature", prefix: "sha256="}}},
		"generic":   {signatures: []signature{own, hub}, tokens: []string{"Authorization"}},
		// GHCR comes through GitHub; distribution and Harbor send a header of one's
		// choice; Docker Hub and Quay can send none.
		Registry: {signatures: []signature{own, hub}, tokens: []string{"Authorization"}, query: true},
	}
	p, known := all[provider]
	return p, known
}

// ErrDenied says that a sender did not show that it knows the secret.
var ErrDenied = errors.New("the secret of the webhook is not shown, or not the right one")

// ErrUnknown says that there is no such provider.
var ErrUnknown = errors.New("no such provider")

// CheckHeaders says whether a request looks like one of its provider, before its
// body is read.
func CheckHeaders(provider string, h http.Header, query url.Values) error {
	p, known := proofsOf(provider)
	if !known {
		return fmt.Errorf("%s: %w", provider, ErrUnknown)
	}
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	form := provider == "github" && kind == "application/x-www-form-urlencoded"
	if h.Get("Content-Type") != "" && (err != nil || kind != "application/json" && !form && !(strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json"))) {
		return errors.New("the content is not JSON")
	}
	for _, s := range p.signatures {
		if mac, ok := s.read(h); ok && len(mac) == sha256.Size {
			return nil
		}
	}
	if p.standard && len(standardOf(h)) > 0 || slices.ContainsFunc(p.tokens, func(name string) bool { return h.Get(name) != "" }) || p.query && query.Get("token") != "" {
		return nil
	}
	return ErrDenied
}

func (s signature) read(h http.Header) ([]byte, bool) {
	digits, ok := strings.CutPrefix(h.Get(s.header), s.prefix)
	mac, err := hex.DecodeString(digits)
	return mac, ok && err == nil && len(mac) > 0
}

// oldest is how old, or how far in the future, a signed time may be.
const oldest = 5 * time.Minute

// Verify says whether the sender knows the secret. What is compared, is in
// constant time.
func Verify(provider string, h http.Header, query url.Values, body, secret []byte, now time.Time) error {
	p, known := proofsOf(provider)
	if !known {
		return fmt.Errorf("%s: %w", provider, ErrUnknown)
	}
	if len(secret) < MinSecret {
		return errors.New("the secret of webhooks is too short to count")
	}
	for _, s := range p.signatures {
		if mac, there := s.read(h); there {
			return s.verify(h, mac, body, secret, now)
		}
	}
	if macs := standardOf(h); p.standard && len(macs) > 0 {
		return verifyStandard(h, macs, body, secret, now)
	}
	for _, name := range p.tokens {
		if v := h.Get(name); v != "" {
			if name == "Authorization" {
				v = tokenOf(v)
			}
			return same(v, secret)
		}
	}
	if p.query {
		return same(query.Get("token"), secret)
	}
	return ErrDenied
}

// MinSecret is the least length of a secret.
const MinSecret = 16

func (s signature) verify(h http.Header, mac, body, secret []byte, now time.Time) error {
	want := hmac.New(sha256.New, secret)
	if s.timestamp != "" {
		at, err := strconv.ParseInt(h.Get(s.timestamp), 10, 64)
		if err != nil || now.Sub(time.Unix(at, 0)).Abs() > oldest {
			return fmt.Errorf("the time of the message is not within %s: %w", oldest, ErrDenied)
		}
		want.Write([]byte(h.Get(s.timestamp) + "."))
	}
	want.Write(body)
	if !hmac.Equal(mac, want.Sum(nil)) {
		return ErrDenied
	}
	return nil
}

// tokenOf takes the scheme off an Authorization header. Of a basic one the
// password counts, as Docker Hub's and Harbor's forms have it.
func tokenOf(v string) string {
	scheme, rest, both := strings.Cut(v, " ")
	if !both {
		return v
	}
	if strings.EqualFold(scheme, "basic") {
		r := http.Request{Header: http.Header{"Authorization": {v}}}
		_, password, _ := r.BasicAuth()
		return password
	}
	return strings.TrimSpace(rest)
}

// same compares hashes, so that not even the length is told by the time it takes.
func same(got string, secret []byte) error {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256(secret)
	if got == "" || subtle.ConstantTimeCompare(a[:], b[:]) != 1 {
		return ErrDenied
	}
	return nil
}

// SignatureOf is the signature that a delivery came with; empty: it came with
// none.
func SignatureOf(provider string, h http.Header) string {
	p, _ := proofsOf(provider)
	for _, s := range p.signatures {
		if mac, there := s.read(h); there {
			return hex.EncodeToString(mac)
		}
	}
	if macs := standardOf(h); p.standard && len(macs) > 0 {
		return hex.EncodeToString(macs[0])
	}
	return ""
}
