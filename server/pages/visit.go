package pages

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// visit is one request on its way to an answer.
type visit struct {
	*http.Request
	Caller auth.Caller
	known  bool // who asks
	w      http.ResponseWriter
	site   *Site
	// versions are those of the topics before anything was looked at.
	versions map[string]string
}

// reads reports whether nothing can be changed by the request.
func (v *visit) reads() bool { return v.Method == http.MethodGet || v.Method == http.MethodHead }

// may reports whether the caller has at least a role.
func (v *visit) may(need auth.Role) bool { return v.known && v.Caller.Role.Allows(need) }

// who names the caller in what is done for them.
func (v *visit) who() string {
	for _, name := range []string{v.Caller.Name, v.Caller.Email} {
		if name != "" {
			return name
		}
	}
	return "unknown"
}

// form reads what was sent. Only ordinary forms are read.
func (v *visit) form() (url.Values, error) {
	err := v.ParseForm()
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &server.Error{Status: http.StatusRequestEntityTooLarge, Detail: "the form is too large", Hint: "send less at once"}
	case err != nil:
		return nil, &server.Error{Status: http.StatusBadRequest, Detail: "read form: " + err.Error(), Hint: "go back and send the form again"}
	}
	return v.PostForm, nil
}

// reply is an answer to a visit.
type reply interface{ send(*visit) }

// redirect leads elsewhere after something was done.
type redirect struct{ path string }

func (a redirect) send(v *visit) { http.Redirect(v.w, v.Request, a.path, http.StatusSeeOther) }

// to leads elsewhere and says there, once, what came of the request. Kind is ok
// or bad.
func (v *visit) to(path, kind, text string) reply {
	v.site.flashes.leave(v, flash{Kind: kind, Text: text})
	return redirect{path}
}

// signIn is where somebody signs in who comes back to a page afterwards.
func signIn(back string) string {
	if back == "/" || !local(back) {
		return "/login"
	}
	return "/login?next=" + url.QueryEscape(back)
}

// local reports whether a text is a path of this site, and of no other.
func local(to string) bool {
	u, err := url.Parse(to)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil && strings.HasPrefix(to, "/") &&
		!strings.HasPrefix(to, "//") && !strings.ContainsAny(to, "\\\r\n\t") && path.Clean("/"+u.Path) != "/login"
}

// localOr is a path of this site, or another one.
func localOr(to, otherwise string) string {
	if local(to) {
		return to
	}
	return otherwise
}

// missing is the error of a page that there is not.
func (v *visit) missing() error {
	return &server.Error{Status: http.StatusNotFound, Detail: "there is no page " + clip(v.URL.Path, 120), Hint: "go to the instances, or use the menu"}
}

// sorry is the page of an error.
func (v *visit) sorry(err error) reply {
	e := server.AsError(err)
	if e.RetryAfter > 0 {
		v.w.Header().Set("Retry-After", seconds(e.RetryAfter))
	}
	data := sorry{Error: e, Word: http.StatusText(e.Status), Back: v.back()}
	return view{Template: "sorry", Title: data.Word, Status: e.Status, Data: data}
}

// sorry is what the page of an error shows.
type sorry struct {
	*server.Error
	Word string
	Back string // where the reader came from; empty: nobody knows
}

// back is the page of this site that the reader came from.
func (v *visit) back() string {
	u, err := url.Parse(v.Referer())
	if err != nil || u.Host != v.Host || !local(u.RequestURI()) {
		return ""
	}
	if back := u.RequestURI(); back != v.URL.RequestURI() || !v.reads() {
		return back
	}
	return ""
}

// cookie is one of this site. Only browsers that came by TLS send it by TLS only.
func (v *visit) cookie(name, value string, life time.Duration) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: v.site.secure(v.Request), MaxAge: int(life / time.Second)}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(v.w, c)
}
