package server

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/fairlead/fairlead/server/auth"
)

func userPath(user, what string) string {
	path := "/api/users/" + url.PathEscape(user)
	if what != "" {
		path += "/" + what
	}
	return path
}

// SetupCode is API.SetupCode.
func (c *Client) SetupCode(ctx context.Context) (SetupCode, error) {
	return call[SetupCode](ctx, c, http.MethodGet, "/api/setup-code", nil)
}

// Users is API.Users.
func (c *Client) Users(ctx context.Context) ([]auth.User, error) {
	return call[[]auth.User](ctx, c, http.MethodGet, "/api/users", nil)
}

// User is API.User.
func (c *Client) User(ctx context.Context, user string) (auth.User, error) {
	return call[auth.User](ctx, c, http.MethodGet, userPath(user, ""), nil)
}

// CreateUser is API.CreateUser.
func (c *Client) CreateUser(ctx context.Context, req NewUser) (auth.User, error) {
	return call[auth.User](ctx, c, http.MethodPost, "/api/users", req)
}

// ChangeUser is API.ChangeUser.
func (c *Client) ChangeUser(ctx context.Context, user string, req UserChange) (auth.User, error) {
	return call[auth.User](ctx, c, http.MethodPatch, userPath(user, ""), req)
}

// DeleteUser is API.DeleteUser.
func (c *Client) DeleteUser(ctx context.Context, user string) (auth.User, error) {
	return call[auth.User](ctx, c, http.MethodDelete, userPath(user, ""), nil)
}

// UserSessions is API.UserSessions.
func (c *Client) UserSessions(ctx context.Context, user string) ([]auth.Session, error) {
	return call[[]auth.Session](ctx, c, http.MethodGet, userPath(user, "sessions"), nil)
}

// EndSession is API.EndSession.
func (c *Client) EndSession(ctx context.Context, id string) (auth.Session, error) {
	return call[auth.Session](ctx, c, http.MethodDelete, "/api/sessions/"+url.PathEscape(id), nil)
}

// EndSessions is API.EndSessions.
func (c *Client) EndSessions(ctx context.Context, user string) error {
	_, err := call[[]auth.Session](ctx, c, http.MethodDelete, userPath(user, "sessions"), nil)
	return err
}

// UserTokens is API.UserTokens.
func (c *Client) UserTokens(ctx context.Context, user string) ([]auth.Token, error) {
	return call[[]auth.Token](ctx, c, http.MethodGet, userPath(user, "tokens"), nil)
}

// CreateToken is API.CreateToken.
func (c *Client) CreateToken(ctx context.Context, req NewToken) (MadeToken, error) {
	return call[MadeToken](ctx, c, http.MethodPost, "/api/tokens", req)
}

// DeleteToken is API.DeleteToken.
func (c *Client) DeleteToken(ctx context.Context, id string) (auth.Token, error) {
	return call[auth.Token](ctx, c, http.MethodDelete, "/api/tokens/"+url.PathEscape(id), nil)
}

// Audit is API.Audit.
func (c *Client) Audit(ctx context.Context, q auth.AuditQuery) ([]auth.Entry, error) {
	query := url.Values{"limit": {strconv.Itoa(max(1, q.Limit))}}
	if q.Before > 0 {
		query.Set("before", strconv.FormatUint(q.Before, 10))
	}
	if q.User != "" {
		query.Set("user", q.User)
	}
	page, err := call[AuditPage](ctx, c, http.MethodGet, "/api/audit?"+query.Encode(), nil)
	return page.Entries, err
}

// ExportAudit is API.ExportAudit.
func (c *Client) ExportAudit(ctx context.Context, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, "/api/audit/export", ndjson, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}
