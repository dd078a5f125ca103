package pages

import (
	"net/http"
	"slices"
	"time"

	"github.com/fairlead/fairlead/server"
)

const themeCookie = "fairlead_theme"

// themes are those that a reader can choose, in the order of the button: as the
// device has it, light, dark.
func themes() []string { return []string{"auto", "light", "dark"} }

func (v *visit) theme() string {
	if c, err := v.Cookie(themeCookie); err == nil && slices.Contains(themes(), c.Value) {
		return c.Value
	}
	return "auto"
}

func (s *Site) chooseTheme(v *visit) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(themes(), form.Get("theme")) {
		return nil, &server.Error{Status: http.StatusUnprocessableEntity, Detail: "there is no such theme", Hint: "choose auto, light or dark"}
	}
	v.cookie(themeCookie, form.Get("theme"), 365*24*time.Hour)
	return redirect{localOr(form.Get("back"), "/")}, nil
}
