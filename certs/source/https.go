package source

import (
	"context"
	"net/http"
	"strings"
)

func fetchHTTPS(ctx context.Context, j *job) (Blob, error) {
	host := shownHost(j.ref.url.Hostname(), j.ref.port())
	q := question{who: host, method: http.MethodGet, url: j.ref.url.String(), header: http.Header{}, limit: MaxSize,
		hide:  []string{j.ref.url.RawQuery},
		guard: guard{loopback: named(j.opts.AllowedHosts, j.ref.url.Hostname(), j.ref.port())}, trust: trust{j.use.CA, j.use.Pins}}
	q.header.Set("Accept", "application/x-pem-file, application/pem-certificate-chain, text/plain, */*;q=0.1")
	if j.prev != "" {
		q.header.Set("If-None-Match", j.prev)
	}
	if err := j.bearer(ctx, &q); err != nil {
		return Blob{}, err
	}
	a, err := j.ask(ctx, q)
	b := Blob{Date: a.date}
	switch {
	case err != nil:
		return b, err
	case a.status == http.StatusNotModified && j.prev != "":
		b.NotModified = true
		return b, nil
	case a.status != http.StatusOK:
		return b, j.answered(host, a, "", forbiddenURL(j.use))
	}
	b.Data, b.Version = a.body, Version(etag(a.header))
	return b, nil
}

// etag is the validator of an answer, if it is one that can be sent back.
func etag(h http.Header) string {
	tag := h.Get("ETag")
	if strings.ContainsFunc(tag, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return ""
	}
	return tag
}

// bearer puts the named secret into the question.
func (j *job) bearer(ctx context.Context, q *question) error {
	if j.use.Bearer == "" {
		return nil
	}
	if j.opts.Secret == nil && j.use.Token == "" {
		return fail(ErrRefused, "this host has no secrets, and the bearer token is one")
	}
	token, err := j.use.Token, error(nil)
	if token == "" {
		token, err = j.opts.Secret(ctx, j.use.Bearer)
	}
	token = strings.TrimSpace(token)
	if err != nil || token == "" {
		return fail(ErrRefused, "this host has no value for the secret %s", plain(j.use.Bearer, nil))
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return fail(ErrRefused, "the secret %s has characters that a bearer token cannot have", plain(j.use.Bearer, nil))
	}
	q.header.Set("Authorization", "Bearer "+token)
	q.hide = append(q.hide, token)
	return nil
}

func forbiddenURL(u Use) string {
	if u.Bearer == "" {
		return "it may want a bearer token: name a secret"
	}
	return "it does not take the secret " + plain(u.Bearer, nil) + " as bearer token"
}
