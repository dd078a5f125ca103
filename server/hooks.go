package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/auth"
	"github.com/fairlead/fairlead/server/hooks"
)

// Webhooks says how webhooks are taken.
type Webhooks struct {
	// Secret is what senders have to know.
	Secret func() ([]byte, error)
	// Repo is the URL of the repository that is followed; empty: it is on this
	// host, and any delivery of a sender who knows the secret counts.
	Repo string
	// Check asks a registry now what a reference means.
	Check func(ctx context.Context, ref string) error
}

// HookAnswer is what the sender of a webhook is told.
type HookAnswer struct {
	Triggered   bool   `json:"triggered" doc:"whether something is looked at now because of it"`
	Reason      string `json:"reason" doc:"why, or why not"`
	Correlation string `json:"correlation_id,omitempty" doc:"found again in the log, and in the history and events of what follows"`
}

const hookTag = "webhooks"

// hookRoutes take what git hosts and registries send. Each provider has its own
// way to show that it knows the secret, so the operations are public.
func (a *API) hookRoutes(r *router) {
	refusals := map[int]string{http.StatusUnauthorized: "the secret is not shown, or not the right one", http.StatusNotFound: "there is no such provider, or no webhooks are taken",
		http.StatusTooManyRequests: "too many at once; Retry-After says when to come again"}
	op := operation{method: http.MethodPost, tag: hookTag, role: public, status: http.StatusAccepted, maxBody: hooks.MaxBody, errors: refusals, before: a.beforeHook}
	git, registry := op, op
	git.path, git.id, git.summary = "/hooks/git/{provider}", "hookGit", "A git host tells of a push"
	git.description = "Looks for a newer revision, as every poll does. What the body says decides only whether that is worth it: nothing of it is applied."
	registry.path, registry.id, registry.summary = "/hooks/registry", "hookRegistry", "A registry tells of a push"
	registry.description = "Asks the registry what the references that are followed mean now. It reads what Docker distribution, Docker Hub, GHCR, Harbor and Quay send, and {\"image\": \"HOST/NAME:TAG\"}."
	route(r, git, func(ctx context.Context, in *GitHook) (HookAnswer, error) {
		return a.takeHook(ctx, in.Provider, in.HookRequest)
	})
	route(r, registry, func(ctx context.Context, in *RegistryHook) (HookAnswer, error) {
		return a.takeHook(ctx, hooks.Registry, in.HookRequest)
	})
}

// GitHook is the input of a git host's webhook.
type GitHook struct {
	Provider string `path:"provider" enum:"github,gitlab,gitea,forgejo,bitbucket,generic" doc:"who sends it"`
	HookRequest
}

// RegistryHook is the input of a registry's.
type RegistryHook struct {
	Token string `query:"token" maxLength:"200" doc:"the secret, of senders that can set no header"`
	HookRequest
}

// HookRequest is the request as it came: signatures are over its very bytes.
type HookRequest struct {
	header http.Header
	query  url.Values
	body   []byte
}

// Resolve implements huma.Resolver. The body was read by guard, within its bound.
func (h *HookRequest) Resolve(ctx huma.Context) []error {
	r, _ := humago.Unwrap(ctx)
	h.header, h.query = r.Header, r.URL.Query()
	if r.Body == nil {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return []error{err}
	}
	h.body = body
	return nil
}

// beforeHook turns away what comes too often or cannot be right, before its body
// is read.
func (a *API) beforeHook(r *http.Request) error {
	if a.cfg.Webhooks == nil {
		return &Error{Status: http.StatusNotFound, Detail: "no webhooks are taken", Hint: "a daemon takes them; commands that work alone do not"}
	}
	provider := hooks.Registry
	if name, is := strings.CutPrefix(r.URL.Path, "/hooks/git/"); is {
		provider = name
	}
	if wait := a.hooks.rates.take(sender(r.Context()), time.Now()); wait > 0 {
		return tooMany(wait)
	}
	return a.refuseHook(r.Context(), provider, hooks.CheckHeaders(provider, r.Header, r.URL.Query()))
}

func tooMany(wait time.Duration) error {
	return &Error{Status: http.StatusTooManyRequests, Detail: "too many webhooks at once", Hint: "come again as Retry-After says; what was pushed is found by the next poll as well", RetryAfter: wait}
}

// sender is whom a request is counted as.
func sender(ctx context.Context) string {
	if at := auth.Network(auth.VisitFrom(ctx).Address); at.IsValid() {
		return at.String()
	}
	return "socket"
}

// refuseHook says how a delivery that is not believed is answered, and counts it.
func (a *API) refuseHook(ctx context.Context, provider string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, hooks.ErrUnknown):
		return &Error{Status: http.StatusNotFound, Detail: "take webhook of " + clipped(provider) + ": there is no such provider", Hint: "there are " + strings.Join(hooks.Providers(), ", ") + ", and /hooks/registry"}
	case !errors.Is(err, hooks.ErrDenied):
		return &Error{Status: http.StatusBadRequest, Detail: "take webhook of " + provider + ": " + err.Error(), Hint: "send JSON: set the content type of the webhook to application/json"}
	}
	if wait := a.hooks.rates.denied(sender(ctx), time.Now()); wait > 0 {
		return tooMany(wait)
	}
	return &Error{Status: http.StatusUnauthorized, Detail: "take webhook of " + provider + ": " + err.Error(),
		Hint: "enter the secret that fairlead hook secret prints as the webhook's secret, see docs/webhooks.md"}
}

// takeHook believes a delivery or not, and begins what it asks for.
func (a *API) takeHook(ctx context.Context, provider string, in HookRequest) (HookAnswer, error) {
	answer := HookAnswer{Correlation: reconciler.CorrelationOf(ctx)}
	secret, err := a.cfg.Webhooks.Secret()
	if err != nil {
		return answer, fmt.Errorf("read the secret of webhooks: %w", err)
	}
	now := time.Now()
	if err := a.refuseHook(ctx, provider, hooks.Verify(provider, in.header, in.query, in.body, secret, now)); err != nil {
		return answer, err
	}
	d, err := a.parseHook(provider, in)
	if err != nil {
		return answer, &Error{Status: http.StatusUnprocessableEntity, Detail: err.Error(), Hint: "see docs/webhooks.md for what is read"}
	}
	switch {
	case a.hooks.seen.before(d, in.header, in.body, now):
		answer.Reason = "it was delivered before"
	case d.Ping:
		answer.Reason = "the webhook is set up"
	case provider == hooks.Registry:
		answer.Triggered, answer.Reason = a.lookAtImages(ctx, d)
	default:
		answer.Triggered, answer.Reason = a.lookAtPush(ctx, d)
	}
	a.logHook(ctx, d, answer)
	return answer, nil
}

func (a *API) parseHook(provider string, in HookRequest) (hooks.Delivery, error) {
	if provider == hooks.Registry {
		return hooks.ParseRegistry(in.header, in.body)
	}
	return hooks.ParseGit(provider, in.header, in.body)
}

func (a *API) logHook(ctx context.Context, d hooks.Delivery, answer HookAnswer) {
	if a.cfg.Log == nil {
		return
	}
	a.cfg.Log.WithFields(logrus.Fields{"provider": d.Provider, "event": clipped(d.Event), "triggered": answer.Triggered, "correlation": answer.Correlation}).
		Info("Webhook: " + clipped(answer.Reason))
}

// lookAtPush looks for a newer revision when it is the followed one that may be.
func (a *API) lookAtPush(ctx context.Context, d hooks.Delivery) (bool, string) {
	if why := d.Follows(a.cfg.Webhooks.Repo, a.cfg.Fleet.Source().Ref); why != "" {
		return false, clipped(why)
	}
	a.hooks.looks.begin(ctx, "", func(ctx context.Context) error {
		s, err := a.Sync(ctx)
		if err == nil && s.Error != "" {
			err = errors.New(s.Error)
		}
		return err
	}, a.hookFailed)
	return true, "a newer revision is looked for"
}

// lookAtImages asks registries about what is followed of what was pushed.
func (a *API) lookAtImages(ctx context.Context, d hooks.Delivery) (bool, string) {
	follow := map[string][]*reconciler.Instance{}
	for _, r := range a.cfg.Fleet.Instances() {
		s := r.Status().Release
		if s == nil {
			continue
		}
		for _, i := range d.Images {
			if i.Matches(s.Ref) {
				follow[s.Ref] = append(follow[s.Ref], r)
				break
			}
		}
	}
	if len(follow) == 0 {
		return false, "no instance follows what was pushed"
	}
	for ref, instances := range follow {
		a.hooks.looks.begin(ctx, ref, func(ctx context.Context) error {
			err := a.cfg.Webhooks.Check(ctx, ref)
			for _, r := range instances {
				r.HintFor(ctx)
			}
			return err
		}, a.hookFailed)
	}
	return true, fmt.Sprintf("the registry is asked about %d of what is followed", len(follow))
}

func (a *API) hookFailed(ctx context.Context, err error) {
	if a.cfg.Log != nil {
		a.cfg.Log.WithError(err).WithField("correlation", reconciler.CorrelationOf(ctx)).Warn("Look because of a webhook; the next poll looks again")
	}
}
