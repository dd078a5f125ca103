package pages

import (
	"crypto/rand"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

func (s *Site) accountRoutes() {
	s.page("GET /account", auth.RoleViewer, s.accountPage)
	s.page("POST /account/password", auth.RoleViewer, s.changePassword)
	s.page("POST /account/sessions/end", auth.RoleViewer, s.endOtherSessions)
	s.page("POST /account/sessions/{session}/end", auth.RoleViewer, s.endSession)
	s.page("GET /tokens", auth.RoleViewer, s.tokensPage)
	s.page("POST /tokens", auth.RoleViewer, s.makeToken)
	s.page("GET /tokens/{token}/delete", auth.RoleViewer, s.confirmToken)
	s.page("POST /tokens/{token}/delete", auth.RoleViewer, s.deleteToken)
}

// accountData is what somebody sees of themselves.
type accountData struct {
	Sessions []auth.Session
	Others   int
	Old, New field
	Problem  *server.Error
	BySignIn bool // there is a password to change
}

func (s *Site) accountPage(v *visit) (reply, error) { return s.showAccount(v, nil) }

func (s *Site) showAccount(v *visit, problem *server.Error) (reply, error) {
	d := accountData{BySignIn: v.Caller.Via == auth.ViaSession, Problem: problem,
		Old: field{Type: "password", Name: "current_password", Label: "Current password", Required: true, Autocomplete: "current-password"},
		New: field{Type: "password", Name: "password", Label: "New password", Required: true, Autocomplete: "new-password", Hint: "12 characters at least that nobody would guess. Your other sessions end."}}
	var err error
	if d.Sessions, err = s.api.Sessions(v.Context()); err != nil {
		return nil, err
	}
	for _, x := range d.Sessions {
		if !x.Current {
			d.Others++
		}
	}
	w := view{Template: "account", Title: "Your account", Nav: "account"}
	if problem != nil {
		w.Status = problem.Status
		for _, f := range []*field{&d.Old, &d.New} {
			if what, found := strings.CutPrefix(problem.Detail, f.Name+": "); found {
				f.Error, d.Problem = sentence(what), nil
			}
		}
	}
	w.Data = d
	return w, nil
}

func (s *Site) changePassword(v *visit) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	err = s.api.ChangePassword(v.Context(), server.PasswordChange{Current: form.Get("current_password"), New: form.Get("password")})
	if err != nil {
		e := server.AsError(err)
		if e.RetryAfter > 0 {
			v.w.Header().Set("Retry-After", seconds(e.RetryAfter))
		}
		return s.showAccount(v, e)
	}
	return v.to("/account", "ok", "Your password is changed, and your other sessions are ended."), nil
}

func (s *Site) endSession(v *visit) (reply, error) {
	if _, err := s.api.EndSession(v.Context(), v.PathValue("session")); err != nil {
		return nil, err
	}
	if v.PathValue("session") == v.Caller.Session {
		s.api.ClearSession(v.Context(), v.w)
		return redirect{"/login"}, nil
	}
	return v.to("/account", "ok", "The session is ended."), nil
}

func (s *Site) endOtherSessions(v *visit) (reply, error) {
	if err := s.api.EndSessions(v.Context(), v.Caller.ID); err != nil {
		return nil, err
	}
	return v.to("/account", "ok", "All your other sessions are ended."), nil
}

// tokensData is what somebody sees of their tokens.
type tokensData struct {
	Tokens  []auth.Token
	Made    *server.MadeToken // shown this once
	Name    field
	Expires field
	Scopes  []scopeChoice
	Problem *server.Error
	Curl    string
}

type scopeChoice struct {
	Scope, Text string
	Chosen      bool
}

// scopeChoices are the scopes that a role can have use of.
func scopeChoices(role auth.Role, chosen []string) (list []scopeChoice) {
	for _, c := range []struct {
		scope, text string
		need        auth.Role
	}{
		{auth.ScopeRead, "Look at instances, sources and events", auth.RoleViewer},
		{auth.ScopeQuery, "Ask data", auth.RoleAnalyst},
		{auth.ScopeSync, "Have sources and instances brought up to date", auth.RoleAdmin},
		{auth.ScopeWrite, "Change what is configured", auth.RoleAdmin},
		{auth.ScopeAdmin, "Everything, users included", auth.RoleAdmin},
	} {
		if role.Allows(c.need) {
			list = append(list, scopeChoice{c.scope, c.text, slices.Contains(chosen, c.scope)})
		}
	}
	return list
}

// expiries are how long a token may live. For ever is for administrators.
func expiries(role auth.Role) []option {
	list := []option{{Value: "7", Label: "7 days"}, {Value: "30", Label: "30 days"}, {Value: "90", Label: "90 days"}, {Value: "365", Label: "1 year"}}
	if role.Allows(auth.RoleAdmin) {
		list = append(list, option{Value: "never", Label: "No end"})
	}
	return list
}

func (s *Site) tokensPage(v *visit) (reply, error) {
	var made *server.MadeToken
	if id := v.URL.Query().Get("made"); id != "" {
		made = s.reveals.take(v.session(), id)
	}
	return s.showTokens(v, server.NewToken{}, "90", made, nil)
}

func (s *Site) showTokens(v *visit, want server.NewToken, expires string, made *server.MadeToken, problem *server.Error) (reply, error) {
	d := tokensData{Made: made, Scopes: scopeChoices(v.Caller.Role, want.Scopes), Problem: problem,
		Name:    field{Type: "text", Name: "name", Label: "What is it for", Value: want.Name, Required: true, Autocomplete: "off", Placeholder: "nightly export"},
		Expires: field{Type: "select", Name: "expires", Label: "It ends after", Value: expires, Options: expiries(v.Caller.Role), Required: true}}
	var err error
	if d.Tokens, err = s.api.Tokens(v.Context()); err != nil {
		return nil, err
	}
	if made != nil {
		d.Curl = "curl -H \"Authorization: Bearer " + made.Prefix + "…\" " + v.origin() + "/api/instances"
	}
	w := view{Template: "tokens", Title: "Tokens", Nav: "tokens"}
	if problem != nil {
		w.Status = problem.Status
		if what, found := strings.CutPrefix(problem.Detail, "name: "); found {
			d.Name.Error, d.Problem = sentence(what), nil
		}
	}
	w.Data = d
	return w, nil
}

func (s *Site) makeToken(v *visit) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	want := server.NewToken{Name: strings.TrimSpace(form.Get("name")), Scopes: form["scope"]}
	expires := form.Get("expires")
	if days, err := strconv.Atoi(expires); err == nil && days > 0 {
		want.Expires = &server.Lifetime{Days: days}
	} else if expires == "never" {
		want.Expires = &server.Lifetime{Forever: true}
	}
	made, err := s.api.CreateToken(v.Context(), want)
	if err != nil {
		return s.showTokens(v, want, expires, nil, server.AsError(err))
	}
	return redirect{"/tokens?made=" + s.reveals.leave(v.session(), made)}, nil
}

// ownToken finds one of who asks, or of anybody for an administrator.
func (s *Site) confirmToken(v *visit) (reply, error) {
	list, err := s.api.Tokens(v.Context())
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(t auth.Token) bool { return t.ID == v.PathValue("token") })
	if i < 0 {
		return v.to("/tokens", "bad", "There is no such token any more."), nil
	}
	return view{Template: "sure", Title: "Delete the token " + list[i].Name + "?", Nav: "tokens", Crumbs: []crumb{{"/tokens", "Tokens"}},
		Data: sure{Text: "Whatever uses it is refused from this moment on. It cannot be brought back.",
			Ask: confirmation{Action: v.URL.Path, Button: "Delete it", Back: "/tokens", Danger: true}}}, nil
}

// sure asks once more.
type sure struct {
	Text string
	Ask  confirmation
}

func (s *Site) deleteToken(v *visit) (reply, error) {
	t, err := s.api.DeleteToken(v.Context(), v.PathValue("token"))
	if err != nil {
		return nil, err
	}
	return v.to("/tokens", "ok", "The token "+t.Name+" is deleted."), nil
}

// reveals keep a new token for the one page that shows it.
type reveals struct {
	mu   sync.Mutex
	kept map[string]reveal
}

type reveal struct {
	made    server.MadeToken
	session string
	until   time.Time
}

const (
	revealLife = 2 * time.Minute
	maxReveals = 100
)

func (r *reveals) leave(session string, made server.MadeToken) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept == nil {
		r.kept = map[string]reveal{}
	}
	now, id := time.Now(), rand.Text()
	for old, k := range r.kept {
		if now.After(k.until) || len(r.kept) >= maxReveals {
			delete(r.kept, old)
		}
	}
	r.kept[id] = reveal{made, session, now.Add(revealLife)}
	return id
}

// take returns a token, once.
func (r *reveals) take(session, id string) *server.MadeToken {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, there := r.kept[id]
	if !there || k.session != session {
		return nil
	}
	delete(r.kept, id)
	if time.Now().After(k.until) {
		return nil
	}
	return &k.made
}
