package pages

import (
	"net/http"
	"strings"

	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

func (s *Site) userRoutes() {
	s.page("GET /users", auth.RoleAdmin, s.usersPage)
	s.page("POST /users", auth.RoleAdmin, s.addUser)
	s.page("GET /users/{user}", auth.RoleAdmin, s.userPage)
	s.page("POST /users/{user}", auth.RoleAdmin, s.changeUser)
	s.page("POST /users/{user}/password", auth.RoleAdmin, s.setPassword)
	s.page("POST /users/{user}/disable", auth.RoleAdmin, s.disableUser(true))
	s.page("POST /users/{user}/enable", auth.RoleAdmin, s.disableUser(false))
	s.page("POST /users/{user}/sessions/end", auth.RoleAdmin, s.endUserSessions)
	s.page("GET /users/{user}/delete", auth.RoleAdmin, s.confirmUser)
	s.page("POST /users/{user}/delete", auth.RoleAdmin, s.deleteUser)
}

// roleOptions are the roles in words.
func roleOptions() []option {
	return []option{{Value: "viewer", Label: "Viewer: sees how things stand"}, {Value: "analyst", Label: "Analyst: asks data, too"}, {Value: "admin", Label: "Administrator: changes everything"}}
}

// usersData is what the list of users shows.
type usersData struct {
	Users                       []auth.User
	Email, Name, Role, Password field
	Problem                     *server.Error
	Open                        bool // the form
}

func (s *Site) usersPage(v *visit) (reply, error) { return s.showUsers(v, server.NewUser{}, nil) }

func (s *Site) showUsers(v *visit, want server.NewUser, problem *server.Error) (reply, error) {
	role := string(want.Role)
	if role == "" {
		role = string(auth.RoleViewer)
	}
	d := usersData{Problem: problem, Open: problem != nil || v.URL.Query().Has("add"),
		Email:    field{Type: "email", Name: "email", Label: "E-mail address", Value: want.Email, Required: true, Autocomplete: "off"},
		Name:     field{Type: "text", Name: "name", Label: "Name", Value: want.Name, Autocomplete: "off", Hint: "The author of the commits that they make."},
		Role:     field{Type: "select", Name: "role", Label: "Role", Value: role, Options: roleOptions(), Required: true},
		Password: field{Type: "password", Name: "password", Label: "First password", Autocomplete: "new-password", Hint: "Without one they cannot sign in until you set one."}}
	var err error
	if d.Users, err = s.api.Users(v.Context()); err != nil {
		return nil, err
	}
	w := view{Template: "users", Title: "Users", Nav: "users"}
	if problem != nil {
		w.Status = problem.Status
		d.Problem = blameField(problem, &d.Email, &d.Name, &d.Role, &d.Password)
	}
	w.Data = d
	return w, nil
}

// blameField puts a problem beside the field that it names; nil: it did.
func blameField(problem *server.Error, fields ...*field) *server.Error {
	for _, f := range fields {
		if what, found := strings.CutPrefix(problem.Detail, f.Name+": "); found {
			f.Error = sentence(what)
			return nil
		}
	}
	return problem
}

func (s *Site) addUser(v *visit) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	want := server.NewUser{Email: strings.TrimSpace(form.Get("email")), Name: strings.TrimSpace(form.Get("name")), Role: auth.Role(form.Get("role")), Password: form.Get("password")}
	u, err := s.api.CreateUser(v.Context(), want)
	if err != nil {
		return s.showUsers(v, want, server.AsError(err))
	}
	return v.to("/users/"+u.ID, "ok", u.Label()+" is added."), nil
}

// userData is what the page of one user shows.
type userData struct {
	auth.User
	Self                 bool
	NameField, RoleField field
	Password             field
	Sessions             []auth.Session
	Tokens               []auth.Token
	Problem              *server.Error
}

func (s *Site) userPage(v *visit) (reply, error) { return s.showUser(v, nil) }

func (s *Site) showUser(v *visit, problem *server.Error) (reply, error) {
	u, err := s.api.User(v.Context(), v.PathValue("user"))
	if err != nil {
		return nil, err
	}
	d := userData{User: u, Self: u.ID == v.Caller.ID, Problem: problem,
		NameField: field{Type: "text", Name: "name", Label: "Name", Value: u.Name, Autocomplete: "off"},
		RoleField: field{Type: "select", Name: "role", Label: "Role", Value: string(u.Role), Options: roleOptions(), Required: true, Hint: "Another role ends their sessions."},
		Password:  field{Type: "password", Name: "password", Label: "New password", Required: true, Autocomplete: "new-password", Hint: "It ends their sessions. Tell them by a way that nobody else sees."}}
	if d.Sessions, err = s.api.UserSessions(v.Context(), u.ID); err == nil {
		d.Tokens, err = s.api.UserTokens(v.Context(), u.ID)
	}
	if err != nil {
		return nil, err
	}
	w := view{Template: "user", Title: u.Label(), Nav: "users", Crumbs: []crumb{{"/users", "Users"}}}
	if problem != nil {
		w.Status = problem.Status
		d.Problem = blameField(problem, &d.NameField, &d.RoleField, &d.Password)
	}
	w.Data = d
	return w, nil
}

// change makes one change of a user, and says what came of it.
func (s *Site) change(v *visit, change server.UserChange, said string) (reply, error) {
	u, err := s.api.ChangeUser(v.Context(), v.PathValue("user"), change)
	if err != nil {
		if e := server.AsError(err); e.Status != http.StatusNotFound {
			return s.showUser(v, e)
		}
		return nil, err
	}
	return v.to("/users/"+u.ID, "ok", u.Label()+" "+said), nil
}

func (s *Site) changeUser(v *visit) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	was, err := s.api.User(v.Context(), v.PathValue("user"))
	if err != nil {
		return nil, err
	}
	var c server.UserChange
	if name := strings.TrimSpace(form.Get("name")); name != was.Name {
		c.Name = &name
	}
	if role := auth.Role(form.Get("role")); role != was.Role {
		c.Role = &role
	}
	return s.change(v, c, "is changed.")
}

func (s *Site) setPassword(v *visit) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	password := form.Get("password")
	return s.change(v, server.UserChange{Password: &password}, "has a new password.")
}

func (s *Site) disableUser(disabled bool) handler {
	said := "may sign in again."
	if disabled {
		said = "is disabled; their sessions are ended."
	}
	return func(v *visit) (reply, error) { return s.change(v, server.UserChange{Disabled: &disabled}, said) }
}

func (s *Site) endUserSessions(v *visit) (reply, error) {
	if err := s.api.EndSessions(v.Context(), v.PathValue("user")); err != nil {
		return nil, err
	}
	return v.to("/users/"+v.PathValue("user"), "ok", "All sessions are ended, but for this one."), nil
}

func (s *Site) confirmUser(v *visit) (reply, error) {
	u, err := s.api.User(v.Context(), v.PathValue("user"))
	if err != nil {
		return nil, err
	}
	return s.askDelete(v, u, ""), nil
}

func (s *Site) askDelete(v *visit, u auth.User, problem string) view {
	w := view{Template: "sure", Title: "Delete " + u.Label() + "?", Nav: "users", Crumbs: []crumb{{"/users", "Users"}, {"/users/" + u.ID, u.Label()}},
		Data: sure{Text: "Their sessions and tokens end at once. What they did stays in the audit log and in the commits. To keep somebody out for a while, disable them instead.",
			Ask: confirmation{Action: "/users/" + u.ID + "/delete", Button: "Delete " + u.Label(), Back: "/users/" + u.ID, Danger: true,
				Fields: []field{{Type: "text", Name: "email", Label: "Write " + u.Email + " to be sure", Required: true, Autocomplete: "off", Error: problem}}}}}
	if problem != "" {
		w.Status = http.StatusUnprocessableEntity
	}
	return w
}

func (s *Site) deleteUser(v *visit) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	u, err := s.api.User(v.Context(), v.PathValue("user"))
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(strings.TrimSpace(form.Get("email")), u.Email) {
		return s.askDelete(v, u, "That is not their address."), nil
	}
	if _, err := s.api.DeleteUser(v.Context(), u.ID); err != nil {
		return nil, err
	}
	return v.to("/users", "ok", u.Label()+" is deleted."), nil
}
