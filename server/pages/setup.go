package pages

import (
	"net/http"
	"strings"

	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

func (s *Site) setupRoutes() {
	s.page("GET /setup", everybody, s.setupPage)
	s.page("POST /setup", everybody, s.takeAdmin)
	s.page("GET /setup/source", auth.RoleAdmin, s.setupSource)
	s.page("POST /setup/source", auth.RoleAdmin, s.takeSetupSource)
	s.page("POST /setup/later", auth.RoleAdmin, s.later)
}

// adminData is what the first step of the setup shows.
type adminData struct {
	wizard
	Email, Name, Code field
	Password          field
	NeedsCode         bool
}

// setupPage makes the first administrator. Once there is one it leads to where
// the reader has to go.
func (s *Site) setupPage(v *visit) (reply, error) {
	open, err := s.api.SetupOpen(v.Context())
	switch {
	case err != nil:
		return nil, err
	case !open:
		return redirect{s.afterSetup(v)}, nil
	}
	return s.showAdmin(v, server.BootstrapRequest{}, nil), nil
}

// afterSetup is where /setup leads when it is closed. Whoever made the first
// administrator in this daemon's life goes on where they were.
func (s *Site) afterSetup(v *visit) string {
	switch {
	case !v.known:
		return "/login"
	case !s.settling(v):
		return "/"
	}
	if d, there := s.drafts.unfinished(v.session(), true); there {
		step, _ := d.ready("")
		return d.path(step)
	}
	return "/setup/source"
}

// settling reports whether the reader is on the way through the setup, also when
// the daemon was started anew on the way.
func (s *Site) settling(v *visit) bool {
	if settler := s.settler.Load(); settler != nil {
		return v.may(auth.RoleAdmin) && *settler == v.Caller.ID
	}
	_, there := s.drafts.unfinished(v.session(), true)
	return there && v.may(auth.RoleAdmin)
}

func (s *Site) showAdmin(v *visit, req server.BootstrapRequest, problem *server.Error) view {
	d := draft{Setup: true, Problem: problem}
	w := wizardOf(d, "admin")
	w.Base = setupBase
	data := adminData{wizard: w, NeedsCode: !auth.VisitFrom(v.Context()).Near,
		Email:    field{Type: "email", Name: "email", Label: "E-mail address", Value: req.Email, Required: true, Autocomplete: "username", Placeholder: "you@example.com"},
		Name:     field{Type: "text", Name: "name", Label: "Name", Value: req.Name, Autocomplete: "name", Hint: "The author of the commits that you make here."},
		Password: field{Type: "password", Name: "password", Label: "Password", Required: true, Autocomplete: "new-password", Hint: "12 characters at least that nobody would guess: several words, or what a password manager makes."},
		Code:     field{Type: "text", Name: "setup_code", Label: "Setup code", Required: true, Autocomplete: "one-time-code", Hint: "You come from elsewhere, so this machine asks for it. There: fairlead user setup-code"}}
	view := view{Template: "setupadmin", Title: "Welcome", Bare: true, Data: &data}
	if problem != nil {
		data.blame(problem)
		view.Status = problem.Status
	}
	return view
}

// blame puts a problem beside the field that it is about.
func (d *adminData) blame(problem *server.Error) {
	for _, f := range []*field{&d.Email, &d.Name, &d.Password, &d.Code} {
		if what, found := strings.CutPrefix(problem.Detail, f.Name+": "); found {
			f.Error = sentence(what)
			if problem.Hint != "" && f.Name == "password" {
				f.Hint = sentence(problem.Hint)
			}
			d.Problem, d.NeedsCode = nil, d.NeedsCode || f.Name == "setup_code"
		}
	}
}

// sentence writes a message as one: of the API they begin small and end open.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}

func (s *Site) takeAdmin(v *visit) (reply, error) {
	open, err := s.api.SetupOpen(v.Context())
	if err != nil {
		return nil, err
	}
	if !open {
		return v.to(s.afterSetup(v), "bad", "There is an administrator already. Sign in."), nil
	}
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	req := server.BootstrapRequest{Email: strings.TrimSpace(form.Get("email")), Name: strings.TrimSpace(form.Get("name")),
		Password: form.Get("password"), SetupCode: form.Get("setup_code")}
	login, err := s.api.Bootstrap(v.Context(), req)
	if err != nil {
		problem := server.AsError(err)
		if open, look := s.api.SetupOpen(v.Context()); look == nil && !open { // somebody else was faster
			return v.to("/login", "bad", "Somebody else made the first administrator meanwhile. Sign in, or ask them for an account."), nil
		}
		if problem.RetryAfter > 0 {
			v.w.Header().Set("Retry-After", seconds(problem.RetryAfter))
		}
		return s.showAdmin(v, req, problem), nil
	}
	s.api.SetSession(v.Context(), v.w, login)
	s.settler.Store(&login.UserID)
	return redirect{"/setup/source"}, nil
}

func (s *Site) setupSource(v *visit) (reply, error) {
	if !s.settling(v) {
		return redirect{addBase}, nil
	}
	return s.showSource(v, draft{Setup: true}, nil), nil
}

// takeSetupSource takes the choice of a source, or of none for now.
func (s *Site) takeSetupSource(v *visit) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	if form.Get("kind") == "later" {
		return s.later(v)
	}
	return s.takeSourceFor(v, s.settling(v))
}

// later ends the setup without a source.
func (s *Site) later(v *visit) (reply, error) {
	if s.settling(v) {
		s.settled(v)
	}
	return v.to("/", "ok", "You are set up. A source of data can be added at any time, under Data."), nil
}

// settled ends the setup of the reader, in every tab.
func (s *Site) settled(v *visit) {
	s.settler.Store(nil)
	for d, there := s.drafts.unfinished(v.session(), true); there; d, there = s.drafts.unfinished(v.session(), true) {
		s.drafts.forget(d.Session, d.ID)
	}
}

// tooOften says when to come again, in words.
func tooOften(e *server.Error) string {
	if e.Status != http.StatusTooManyRequests || e.RetryAfter <= 0 {
		return ""
	}
	return "Come again in " + age(e.RetryAfter+999999999) + "."
}
