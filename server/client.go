package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// The bounds of an answer.
const (
	maxAnswer   = 64 << 20
	maxLine     = 8 << 20
	dialTimeout = 5 * time.Second
)

// Client talks to a daemon. Its methods are those of API.
type Client struct {
	http     *http.Client
	operator string
}

// NewClient talks to the daemon at a socket; the connection is made by the
// first call. sudoUser is the person behind root, or empty.
func NewClient(socket, sudoUser string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: dialTimeout}
		return d.DialContext(ctx, "unix", socket)
	}
	return &Client{
		http: &http.Client{
			Transport:     &http.Transport{DialContext: dial, DisableCompression: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		operator: sudoUser,
	}
}

// Close ends idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

func (c *Client) do(ctx context.Context, method, path, accept string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write request: %w", err)
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://fairlead"+path, content)
	if err != nil {
		return nil, fmt.Errorf("write request: %w", err)
	}
	req.Header.Set("Accept", accept)
	if c.operator != "" {
		req.Header.Set(operatorHeader, c.operator)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error // its text only repeats the address, which is made up
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, readError(resp)
	}
	return resp, nil
}

func readError(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxLine))
	e := &Error{Status: resp.StatusCode}
	if err != nil || json.Unmarshal(body, e) != nil || e.Detail == "" {
		e.Detail = "ask the daemon: it answered " + resp.Status
	}
	return e
}

func call[T any](ctx context.Context, c *Client, method, path string, body any) (v T, err error) {
	resp, err := c.do(ctx, method, path, "application/json", body)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&v); err != nil {
		return v, fmt.Errorf("read the daemon's answer: %w", err)
	}
	return v, nil
}

// follow reads a stream until it ends or emit returns an error.
func follow[T any](ctx context.Context, c *Client, method, path string, body any, emit func(T) error) error {
	resp, err := c.do(ctx, method, path, ndjson, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var failed struct{ Error *Error }
		if err := json.Unmarshal(lines.Bytes(), &failed); err == nil && failed.Error != nil {
			return failed.Error
		}
		var v T
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			return fmt.Errorf("read the daemon's answer: %w", err)
		}
		if err := emit(v); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	return nil
}

func of(name, what string, query url.Values) string {
	path := "/api/instances/" + url.PathEscape(name)
	if what != "" {
		path += "/" + what
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

// Alive tells whether a daemon answers.
func (c *Client) Alive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	resp, err := c.do(ctx, http.MethodGet, "/healthz", "*/*", nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Version is API.Version.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return call[Version](ctx, c, http.MethodGet, "/api/version", nil)
}

// Source is API.Source.
func (c *Client) Source(ctx context.Context) (SourceInfo, error) {
	return call[SourceInfo](ctx, c, http.MethodGet, "/api/source", nil)
}

// Sync is API.Sync.
func (c *Client) Sync(ctx context.Context) (SourceInfo, error) {
	return call[SourceInfo](ctx, c, http.MethodPost, "/api/source/sync", nil)
}

// Overview is API.Overview.
func (c *Client) Overview(ctx context.Context) (Overview, error) {
	return call[Overview](ctx, c, http.MethodGet, "/api/instances", nil)
}

// Status is API.Status.
func (c *Client) Status(ctx context.Context, name string) (reconciler.Status, error) {
	return call[reconciler.Status](ctx, c, http.MethodGet, of(name, "", nil), nil)
}

// Plan is API.Plan.
func (c *Client) Plan(ctx context.Context, name, ref string) (reconciler.PlanReport, error) {
	query := url.Values{}
	if ref != "" {
		query.Set("ref", ref)
	}
	return call[reconciler.PlanReport](ctx, c, http.MethodGet, of(name, "plan", query), nil)
}

// History is API.History.
func (c *Client) History(ctx context.Context, name string, limit int) ([]reconciler.Record, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	return call[[]reconciler.Record](ctx, c, http.MethodGet, of(name, "history", query), nil)
}

// Generations is API.Generations.
func (c *Client) Generations(ctx context.Context, name string) ([]reconciler.Generation, error) {
	return call[[]reconciler.Generation](ctx, c, http.MethodGet, of(name, "generations", nil), nil)
}

// Why is API.Why.
func (c *Client) Why(ctx context.Context, name, object string) ([]reconciler.Explanation, error) {
	query := url.Values{"name": {object}}
	return call[[]reconciler.Explanation](ctx, c, http.MethodGet, of(name, "why", query), nil)
}

// Events is API.Events.
func (c *Client) Events(ctx context.Context, name string, limit int, following bool, emit func(reconciler.Event) error) error {
	path := "/api/events"
	if name != "" {
		path = of(name, "events", nil)
	}
	path += "?limit=" + strconv.Itoa(limit)
	if following {
		return follow(ctx, c, http.MethodGet, path+"&follow=1", nil, emit)
	}
	list, err := call[[]reconciler.Event](ctx, c, http.MethodGet, path, nil)
	for _, e := range list {
		if err := emit(e); err != nil {
			return err
		}
	}
	return err
}

// Logs is API.Logs.
func (c *Client) Logs(ctx context.Context, q LogQuery, emit func(LogLine) error) error {
	query := url.Values{"tail": {strconv.Itoa(q.Tail)}, "follow": {strconv.FormatBool(q.Follow)}}
	if q.Service != "" {
		query.Set("service", q.Service)
	}
	return follow(ctx, c, http.MethodGet, of(q.Instance, "logs", query), nil, emit)
}

// Reconcile is API.Reconcile.
func (c *Client) Reconcile(ctx context.Context, name string, req ReconcileRequest, emit func(Update)) (result Result, err error) {
	ended := false
	err = follow(ctx, c, http.MethodPost, of(name, "reconcile", nil), req, func(u Update) error {
		switch {
		case u.Result != nil:
			result, ended = *u.Result, true
		case emit != nil:
			emit(u)
		}
		return nil
	})
	if err == nil && !ended {
		err = errors.New("ask the daemon: it stopped before the outcome was known; fairlead status shows it")
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}
	return result, err
}

func certificateOf(instance, name, what string) string {
	path := of(instance, "certificates", nil)
	if name != "" {
		path += "/" + url.PathEscape(name)
	}
	if what != "" {
		path += "/" + what
	}
	return path
}

// Certificates is API.Certificates.
func (c *Client) Certificates(ctx context.Context, instance string) ([]reconciler.CertificateStatus, error) {
	return call[[]reconciler.CertificateStatus](ctx, c, http.MethodGet, certificateOf(instance, "", ""), nil)
}

// Certificate is API.Certificate.
func (c *Client) Certificate(ctx context.Context, instance, name string) (reconciler.CertificateStatus, error) {
	return call[reconciler.CertificateStatus](ctx, c, http.MethodGet, certificateOf(instance, name, ""), nil)
}

// RenewCertificate is API.RenewCertificate.
func (c *Client) RenewCertificate(ctx context.Context, instance, name string, force bool) (reconciler.CertificateStatus, error) {
	return call[reconciler.CertificateStatus](ctx, c, http.MethodPost, certificateOf(instance, name, "renew"), RenewRequest{force})
}

// CertificateRequest is API.CertificateRequest.
func (c *Client) CertificateRequest(ctx context.Context, instance, name string) (CertificateRequest, error) {
	return call[CertificateRequest](ctx, c, http.MethodGet, certificateOf(instance, name, "request"), nil)
}

// RollbackCertificate is API.RollbackCertificate.
func (c *Client) RollbackCertificate(ctx context.Context, instance, name string, generation int) (reconciler.CertificateStatus, error) {
	return call[reconciler.CertificateStatus](ctx, c, http.MethodPost, certificateOf(instance, name, "rollback"), CertificateRollback{generation})
}

// TestCertificate is API.TestCertificate.
func (c *Client) TestCertificate(ctx context.Context, instance string, t CertificateTest) (CertificateReport, error) {
	return call[CertificateReport](ctx, c, http.MethodPost, of(instance, "certificate-test", nil), t)
}

// Rollback is API.Rollback; the daemon knows itself who asks.
func (c *Client) Rollback(ctx context.Context, name string, req RollbackRequest) (RolledBack, error) {
	return call[RolledBack](ctx, c, http.MethodPost, of(name, "rollback", nil), req)
}

// Suspend is API.Suspend; the daemon knows itself who asks.
func (c *Client) Suspend(ctx context.Context, name string, req SuspendRequest) (reconciler.Status, error) {
	return call[reconciler.Status](ctx, c, http.MethodPost, of(name, "suspend", nil), req)
}

// Resume is API.Resume; the daemon knows itself who asks.
func (c *Client) Resume(ctx context.Context, name, _ string) (reconciler.Status, error) {
	return call[reconciler.Status](ctx, c, http.MethodPost, of(name, "resume", nil), struct{}{})
}
