package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/auth"
)

// Login is what somebody gets who signed in. The token is sent as
// Authorization: Bearer; pages keep it in a cookie, see API.SetSession.
type Login struct {
	AccessToken string    `json:"access_token" doc:"send it as Authorization: Bearer"`
	TokenType   string    `json:"token_type" enum:"bearer"`
	UserID      string    `json:"user_id"`
	Email       string    `json:"email"`
	Role        auth.Role `json:"role" enum:"viewer,analyst,admin"`
	Ends        time.Time `json:"-"`
}

func loginOf(g auth.Grant) Login {
	return Login{AccessToken: g.Token, TokenType: "bearer", UserID: g.User.ID, Email: g.User.Email, Role: g.User.Role, Ends: g.Session.Expires}
}

// BootstrapRequest asks for the first administrator.
type BootstrapRequest struct {
	Email     string `json:"email" maxLength:"254" example:"ada@example.com"`
	Name      string `json:"name,omitempty" maxLength:"400" doc:"author of the commits that the administrator makes" example:"Ada Lovelace"`
	Password  string `json:"password" maxLength:"1024" doc:"at least 12 characters that nobody would guess"`
	SetupCode string `json:"setup_code,omitempty" maxLength:"128" doc:"asked for unless the call is made on the host itself: fairlead user setup-code shows it"`
}

// SignInRequest is an email and a password.
type SignInRequest struct {
	Email    string `json:"email" maxLength:"1024" example:"ada@example.com"`
	Password string `json:"password" maxLength:"1024"`
}

// PasswordChange asks for a new password of who asks.
type PasswordChange struct {
	Current string `json:"current_password" maxLength:"1024"`
	New     string `json:"new_password" maxLength:"1024" doc:"at least 12 characters that nobody would guess"`
}

// Me is who asks.
type Me struct {
	ID      string    `json:"user_id,omitempty"`
	Email   string    `json:"email,omitempty"`
	Name    string    `json:"name,omitempty"`
	Role    auth.Role `json:"role" enum:"viewer,analyst,admin"`
	Via     string    `json:"via" enum:"socket,session,token" doc:"how they came"`
	Session string    `json:"session,omitempty" doc:"id of the session or of the token"`
	Scopes  []string  `json:"scopes,omitempty" doc:"of the token; none: all that the role allows"`
}

// people is the store of users.
func (a *API) people() (*auth.Store, error) {
	if a.cfg.Auth == nil {
		return nil, &Error{Status: http.StatusServiceUnavailable, Detail: "there are no users here", Hint: "start the daemon: fairlead run"}
	}
	return a.cfg.Auth, nil
}

// refused says how the API answers what package auth refuses, on both sides of
// the socket.
func refused(err error) error {
	var no *auth.Refusal
	if errors.As(err, &no) {
		return AsError(err)
	}
	return err
}

// visitOf is where a request comes from, with the id that ties together what it
// leads to.
func visitOf(ctx context.Context) auth.Visit {
	v := auth.VisitFrom(ctx)
	v.Correlation = reconciler.CorrelationOf(ctx)
	return v
}

// SetupOpen reports whether there never was an administrator, so that only the
// setup answers.
func (a *API) SetupOpen(context.Context) (bool, error) {
	store, err := a.people()
	if err != nil {
		return false, err
	}
	return store.SetupOpen()
}

// SetupCode returns the code that the setup asks for from elsewhere. Only the
// host's administrator reads it.
func (a *API) SetupCode(ctx context.Context) (SetupCode, error) {
	store, err := a.people()
	if err != nil {
		return SetupCode{}, err
	}
	if caller(ctx).Via != auth.ViaSocket {
		return SetupCode{}, &Error{Status: http.StatusForbidden, Detail: "the setup code is shown on the host only", Hint: "there: fairlead user setup-code"}
	}
	code, err := store.SetupCode()
	return SetupCode{Open: code != "", Code: code}, err
}

// SetupCode is the code, as long as the setup is open.
type SetupCode struct {
	Open bool   `json:"open"`
	Code string `json:"code,omitempty"`
}

// Bootstrap makes the first administrator and signs them in.
func (a *API) Bootstrap(ctx context.Context, req BootstrapRequest) (Login, error) {
	store, err := a.people()
	if err != nil {
		return Login{}, err
	}
	g, err := store.Bootstrap(ctx, visitOf(ctx), auth.NewUser{Email: req.Email, Name: req.Name, Password: req.Password}, req.SetupCode)
	return loginOf(g), a.told(ctx, "bootstrap", "", err)
}

// SignIn begins a session.
func (a *API) SignIn(ctx context.Context, req SignInRequest) (Login, error) {
	store, err := a.people()
	if err != nil {
		return Login{}, err
	}
	g, err := store.SignIn(ctx, visitOf(ctx), req.Email, req.Password)
	return loginOf(g), a.told(ctx, "signIn", "", err)
}

// SignOut ends the session of who asks.
func (a *API) SignOut(ctx context.Context) error {
	who := caller(ctx)
	if who.Via != auth.ViaSession {
		return &Error{Status: http.StatusConflict, Detail: "there is no session to end", Hint: "a token is deleted: DELETE /api/tokens/" + who.Session}
	}
	_, err := a.EndSession(ctx, who.Session)
	return err
}

// SetSession has the browser keep a session, under the name and with the
// attributes that fit how it came.
func (a *API) SetSession(ctx context.Context, w http.ResponseWriter, l Login) {
	auth.SetCookie(w, auth.VisitFrom(ctx), l.AccessToken, l.Ends)
}

// ClearSession has the browser forget the session. It does not end it: SignOut
// does.
func (a *API) ClearSession(ctx context.Context, w http.ResponseWriter) {
	auth.ClearCookie(w, auth.VisitFrom(ctx))
}

// Me returns who asks.
func (a *API) Me(ctx context.Context) (Me, error) {
	c := caller(ctx)
	return Me{ID: c.ID, Email: c.Email, Name: c.Name, Role: c.Role, Via: c.Via, Session: c.Session, Scopes: c.Scopes}, nil
}

// ChangePassword sets a new password of who asks, and ends their other sessions.
func (a *API) ChangePassword(ctx context.Context, req PasswordChange) error {
	store, err := a.people()
	if err != nil {
		return err
	}
	err = store.ChangePassword(ctx, visitOf(ctx), caller(ctx), req.Current, req.New)
	return a.told(ctx, "changePassword", caller(ctx).Email, err)
}

// Sessions returns those of who asks, the newest first.
func (a *API) Sessions(ctx context.Context) ([]auth.Session, error) {
	return a.UserSessions(ctx, caller(ctx).ID)
}

// UserSessions returns those of a user, the newest first.
func (a *API) UserSessions(ctx context.Context, user string) ([]auth.Session, error) {
	store, err := a.people()
	if err != nil {
		return nil, err
	}
	id, err := idOf(ctx, store, user)
	if err != nil {
		return nil, err
	}
	list, err := store.Sessions(ctx, id)
	for i := range list {
		list[i].Current = list[i].ID == caller(ctx).Session
	}
	return list, err
}

// idOf finds a user by id or address; nobody has the id "-", as the socket has
// no user.
func idOf(ctx context.Context, store *auth.Store, user string) (string, error) {
	if user == "" {
		return "-", nil
	}
	u, err := store.User(ctx, user)
	return u.ID, refused(err)
}

// EndSession ends one of who asks, or of anybody for an administrator.
func (a *API) EndSession(ctx context.Context, id string) (auth.Session, error) {
	store, err := a.people()
	if err != nil {
		return auth.Session{}, err
	}
	x, err := store.EndSession(ctx, caller(ctx), id)
	return x, a.told(ctx, "endSession", a.emailOf(ctx, x.User)+" "+id, err)
}

// EndSessions ends all of a user, but for the one that asks.
func (a *API) EndSessions(ctx context.Context, user string) error {
	store, err := a.people()
	if err != nil {
		return err
	}
	id, err := idOf(ctx, store, user)
	if err == nil {
		err = store.Busy(caller(ctx))
	}
	if err == nil {
		err = store.EndSessions(ctx, id, caller(ctx).Session)
	}
	return a.told(ctx, "endSessions", a.emailOf(ctx, user), err)
}

// emailOf is what the audit log calls a user, if there is one.
func (a *API) emailOf(ctx context.Context, user string) string {
	if u, err := a.cfg.Auth.User(ctx, user); err == nil {
		return u.Email
	}
	return ""
}

// Audit returns what people did, the newest first.
func (a *API) Audit(ctx context.Context, q auth.AuditQuery) ([]auth.Entry, error) {
	store, err := a.people()
	if err != nil {
		return nil, err
	}
	return store.Audit(ctx, q)
}

// ExportAudit writes all that the audit log has as JSON lines, the oldest first.
func (a *API) ExportAudit(ctx context.Context, w io.Writer) error {
	store, err := a.people()
	if err != nil {
		return err
	}
	return store.ExportAudit(ctx, w)
}

// Valid reports whether a caller may still be believed, with the same role: a
// stream that is open asks it from time to time.
func (a *API) Valid(_ context.Context, c auth.Caller) bool {
	return c.Via == auth.ViaSocket || (a.cfg.Auth != nil && a.cfg.Auth.Valid(c))
}
