package pages

import (
	"net/http"
	"strings"

	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

func (s *Site) loginRoutes() {
	s.page("GET /login", everybody, s.loginPage)
	s.page("POST /login", everybody, s.signIn)
	s.page("POST /logout", everybody, s.signOut)
}

// loginData is what the page shows where somebody signs in.
type loginData struct {
	Email, Password field
	Next            string
	Problem         string
	Hint            string
}

// loginPage leads on who is signed in, and to the setup while there is nobody.
func (s *Site) loginPage(v *visit) (reply, error) {
	next := localOr(v.URL.Query().Get("next"), "/")
	if open, err := s.api.SetupOpen(v.Context()); err == nil && open {
		return redirect{"/setup"}, nil
	}
	if v.known {
		return redirect{next}, nil
	}
	return showLogin("", next, nil), nil
}

func showLogin(email, next string, problem *server.Error) view {
	d := loginData{Next: next,
		Email:    field{Type: "email", Name: "email", Label: "E-mail address", Value: email, Required: true, Autocomplete: "username"},
		Password: field{Type: "password", Name: "password", Label: "Password", Required: true, Autocomplete: "current-password"}}
	w := view{Template: "login", Title: "Sign in", Bare: true}
	if problem != nil {
		d.Problem, d.Hint = sentence(problem.Detail), tooOften(problem)
		w.Status = problem.Status
	}
	w.Data = d
	return w
}

// signIn answers every failure alike, but that of too many attempts: whether
// there is such a user shows in none of them.
func (s *Site) signIn(v *visit) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	email, next := strings.TrimSpace(cutBytes(form.Get("email"), 1024)), localOr(form.Get("next"), "/")
	login, err := s.api.SignIn(v.Context(), server.SignInRequest{Email: email, Password: form.Get("password")})
	if err != nil {
		e := server.AsError(err)
		switch {
		case e.Status == http.StatusTooManyRequests:
			v.w.Header().Set("Retry-After", seconds(e.RetryAfter))
		case e.Status != http.StatusUnauthorized:
			return nil, err
		}
		return showLogin(email, next, e), nil
	}
	s.api.SetSession(v.Context(), v.w, login)
	return redirect{next}, nil
}

// signOut ends the session, and all that was kept for it.
func (s *Site) signOut(v *visit) (reply, error) {
	if v.known && v.Caller.Via == auth.ViaSession {
		if err := s.api.SignOut(v.Context()); err != nil && server.AsError(err).Status != http.StatusNotFound {
			return nil, err
		}
		s.drafts.forget(v.session(), "")
		s.asked.forget(v.session())
	}
	s.api.ClearSession(v.Context(), v.w)
	return redirect{"/login"}, nil
}
