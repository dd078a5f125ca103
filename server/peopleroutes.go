package server

import (
	"cmp"
	"context"
	"net/http"

	"github.com/fairlead/fairlead/server/auth"
)

const (
	peopleTag  = "people"
	accountTag = "account"
)

// peopleRoutes are about who may ask: signing in, users, tokens, and the log of
// what they did.
func (a *API) peopleRoutes(r *router) {
	a.signInRoutes(r)
	a.accountRoutes(r)
	a.tokenRoutes(r, "/api/tokens", "")
	a.tokenRoutes(r, "/auth/tokens", "Auth") // as the seed has them
	a.userRoutes(r)
	a.auditRoutes(r)
}

func (a *API) signInRoutes(r *router) {
	anybody := func(path, id, summary, description string, errors map[int]string) operation {
		return operation{method: http.MethodPost, path: path, id: id, summary: summary, description: description, tag: accountTag, role: public, maxBody: 8 << 10, errors: errors, setup: id == "bootstrap"}
	}
	const often = "Too many attempts; Retry-After says when to come again."
	route(r, anybody("/auth/bootstrap", "bootstrap", "Make the first administrator",
		"Works once: it is closed for good as soon as there is an administrator. From elsewhere than the host itself it asks for the setup code.",
		map[int]string{http.StatusForbidden: "The setup is closed, or the setup code is wrong.", http.StatusTooManyRequests: often}),
		func(ctx context.Context, in *struct {
			Code string `header:"X-Setup-Code" maxLength:"128" doc:"the setup code, if it is not in the body"`
			Body BootstrapRequest
		}) (Login, error) {
			in.Body.SetupCode = cmp.Or(in.Body.SetupCode, in.Code)
			return a.Bootstrap(ctx, in.Body)
		})
	route(r, anybody("/auth/token", "signIn", "Sign in", "The token lasts for 24 hours. Programs are better off with a personal access token.",
		map[int]string{http.StatusUnauthorized: "The email or the password is wrong.", http.StatusTooManyRequests: often}),
		func(ctx context.Context, in *struct{ Body SignInRequest }) (Login, error) {
			return a.SignIn(ctx, in.Body)
		})
}

// signedOut is the answer to a sign-out; the browser forgets its cookie.
type signedOut struct {
	SetCookie string `header:"Set-Cookie"`
	Body      struct {
		Status string `json:"status" enum:"signed out"`
	}
}

// accountRoutes are about who asks.
func (a *API) accountRoutes(r *router) {
	mine := func(method, path, id, summary, description string) operation {
		return operation{method: method, path: path, id: id, summary: summary, description: description, tag: accountTag, role: auth.RoleViewer, scope: ownScope(method)}
	}
	routeWhole(r, mine(http.MethodPost, "/auth/logout", "signOut", "Sign out", "Ends the session that asks."),
		func(ctx context.Context, _ *none) (*signedOut, error) {
			if err := a.SignOut(ctx); err != nil {
				return nil, err
			}
			out := &signedOut{SetCookie: auth.ClearedCookie(auth.VisitFrom(ctx))}
			out.Body.Status = "signed out"
			return out, nil
		})
	route(r, mine(http.MethodGet, "/api/me", "getMe", "Who asks", ""), func(ctx context.Context, _ *none) (Me, error) { return a.Me(ctx) })
	change := mine(http.MethodPost, "/api/me/password", "changePassword", "Set a new password", "Ends all other sessions; tokens stay.")
	change.secret = true // the hash of a body with a password is a hint at it
	route(r, change,
		func(ctx context.Context, in *struct{ Body PasswordChange }) (Me, error) {
			if err := a.ChangePassword(ctx, in.Body); err != nil {
				return Me{}, err
			}
			return a.Me(ctx)
		})
	route(r, mine(http.MethodGet, "/api/sessions", "listSessions", "One's own sessions", "Newest first."),
		func(ctx context.Context, _ *none) ([]auth.Session, error) { return a.Sessions(ctx) })
	route(r, mine(http.MethodDelete, "/api/sessions", "endSessions", "End one's other sessions", "All but the one that asks. Returns what is left."),
		func(ctx context.Context, _ *none) ([]auth.Session, error) {
			if err := a.EndSessions(ctx, caller(ctx).ID); err != nil {
				return nil, err
			}
			return a.Sessions(ctx)
		})
	route(r, mine(http.MethodDelete, "/api/sessions/{id}", "endSession", "End a session", "One's own; an administrator ends anybody's."),
		func(ctx context.Context, in *ByID) (auth.Session, error) { return a.EndSession(ctx, in.ID) })
}

// ownScope is what a token must have for an account: a look is a look.
func ownScope(method string) string {
	if unsafe(method) {
		return auth.ScopeAdmin
	}
	return auth.ScopeRead
}

// ByID is the input of a call about one thing.
type ByID struct {
	ID string `path:"id" maxLength:"254"`
}

// tokenRoutes are about personal access tokens.
func (a *API) tokenRoutes(r *router, path, suffix string) {
	mine := func(method, path, id, summary, description string) operation {
		return operation{method: method, path: path, id: id + suffix, summary: summary, description: description, tag: accountTag, role: auth.RoleViewer, scope: ownScope(method)}
	}
	route(r, mine(http.MethodGet, path, "listTokens", "One's own personal access tokens", "Newest first, without their secrets."),
		func(ctx context.Context, _ *none) ([]auth.Token, error) { return a.Tokens(ctx) })
	create := mine(http.MethodPost, path, "createToken", "Make a personal access token", "The token is in this answer and can never be had again. A token cannot make tokens.")
	create.status, create.secret = http.StatusCreated, true
	route(r, create, func(ctx context.Context, in *struct{ Body NewToken }) (MadeToken, error) {
		return a.CreateToken(ctx, in.Body)
	})
	route(r, mine(http.MethodDelete, path+"/{id}", "deleteToken", "End a personal access token", "One's own; an administrator ends anybody's."),
		func(ctx context.Context, in *ByID) (auth.Token, error) { return a.DeleteToken(ctx, in.ID) })
}

// userRoutes are about everybody.
func (a *API) userRoutes(r *router) {
	admin := func(method, path, id, summary, description string) operation {
		return operation{method: method, path: path, id: id, summary: summary, description: description, tag: peopleTag, role: auth.RoleAdmin, scope: auth.ScopeAdmin}
	}
	const one = "/api/users/{id}"
	route(r, admin(http.MethodGet, "/api/users", "listUsers", "Everybody", "By address."),
		func(ctx context.Context, _ *none) ([]auth.User, error) { return a.Users(ctx) })
	create := admin(http.MethodPost, "/api/users", "createUser", "Make a user", "Without a password nobody signs in as them until one is set.")
	create.secret = true // as with changePassword
	create.status, create.errors = http.StatusCreated, map[int]string{http.StatusConflict: "There is a user with this address."}
	route(r, create, func(ctx context.Context, in *struct{ Body NewUser }) (auth.User, error) {
		return a.CreateUser(ctx, in.Body)
	})
	route(r, admin(http.MethodGet, one, "getUser", "A user", "By id or address."),
		func(ctx context.Context, in *ByID) (auth.User, error) { return a.User(ctx, in.ID) })
	change := admin(http.MethodPatch, one, "changeUser", "Change a user", "Another role, a new password and being disabled end the user's sessions.")
	change.errors = map[int]string{http.StatusConflict: "Nobody else can sign in as an administrator."}
	route(r, change, func(ctx context.Context, in *struct {
		ByID
		Body UserChange
	}) (auth.User, error) {
		return a.ChangeUser(ctx, in.ID, in.Body)
	})
	remove := admin(http.MethodDelete, one, "deleteUser", "Delete a user", "With all sessions and tokens.")
	remove.errors = change.errors
	route(r, remove, func(ctx context.Context, in *ByID) (auth.User, error) { return a.DeleteUser(ctx, in.ID) })
	route(r, admin(http.MethodGet, one+"/sessions", "listUserSessions", "The sessions of a user", "Newest first."),
		func(ctx context.Context, in *ByID) ([]auth.Session, error) { return a.UserSessions(ctx, in.ID) })
	route(r, admin(http.MethodDelete, one+"/sessions", "endUserSessions", "End the sessions of a user", "But for the one that asks. Returns what is left."),
		func(ctx context.Context, in *ByID) ([]auth.Session, error) {
			if err := a.EndSessions(ctx, in.ID); err != nil {
				return nil, err
			}
			return a.UserSessions(ctx, in.ID)
		})
	route(r, admin(http.MethodGet, one+"/tokens", "listUserTokens", "The tokens of a user", "Newest first, without their secrets."),
		func(ctx context.Context, in *ByID) ([]auth.Token, error) { return a.UserTokens(ctx, in.ID) })
	route(r, admin(http.MethodGet, "/api/setup-code", "getSetupCode", "The setup code", "On the socket only."),
		func(ctx context.Context, _ *none) (SetupCode, error) { return a.SetupCode(ctx) })
}

// AuditPage is a part of the audit log, the newest first.
type AuditPage struct {
	Entries []auth.Entry `json:"entries"`
	// Before is what to ask for next; 0: there is no more.
	Before uint64 `json:"before,omitempty" doc:"ask with this to read on; absent: that was all"`
}

// auditRoutes are about what people did.
func (a *API) auditRoutes(r *router) {
	route(r, operation{method: http.MethodGet, path: "/api/audit", id: "listAudit", tag: peopleTag, role: auth.RoleAdmin, scope: auth.ScopeAdmin,
		summary: "What people did", description: "Who, from where, what, and what came of it; newest first."},
		func(ctx context.Context, in *struct {
			Limited
			Before uint64 `query:"before" doc:"only entries with a smaller number"`
			User   string `query:"user" maxLength:"254" doc:"only what this user did, or what was done to them: id or address"`
		}) (AuditPage, error) {
			list, err := a.Audit(ctx, auth.AuditQuery{Limit: in.entries(), Before: in.Before, User: in.User})
			page := AuditPage{Entries: list}
			if len(list) == in.entries() {
				page.Before = list[len(list)-1].Seq
			}
			return page, err
		})
	routeStream(r, operation{method: http.MethodGet, path: "/api/audit/export", id: "exportAudit", tag: peopleTag, role: auth.RoleAdmin, scope: auth.ScopeAdmin,
		summary: "The whole audit log", description: "An entry a line, oldest first.", produces: map[string]any{ndjson: auth.Entry{}}, endless: true},
		func(ctx context.Context, _ *none, w http.ResponseWriter) error {
			if _, err := a.people(); err != nil {
				return err
			}
			w.Header().Set("Content-Type", ndjson)
			return a.ExportAudit(ctx, deadlined{w})
		})
}

// deadlined gives each part of a long answer its own time.
type deadlined struct{ http.ResponseWriter }

func (d deadlined) Write(p []byte) (int, error) {
	deadline(d.ResponseWriter, lineTimeout)
	return d.ResponseWriter.Write(p)
}
