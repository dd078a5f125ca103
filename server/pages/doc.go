// Package pages is what people see of a daemon in a browser: pages made on the
// server, which need no JavaScript and are kept fresh by a stream of events
// where there is some. They do everything through server.API, with the caller
// in the context and the roles of the API, and hold no state but what is on its
// way to a reader. Nothing is fetched from elsewhere and nothing is built: the
// templates, the stylesheet and the script are part of the binary, and are read
// when the first page is asked for.
//
// # How a page is added
//
// Write a handler and register it in a function of your area, which areas.go
// lists:
//
//	func (s *Site) ringRoutes() {
//		s.page("GET /rings/{name}", auth.RoleViewer, s.ring)
//		s.page("POST /rings/{name}/polish", auth.RoleAdmin, s.polish)
//	}
//
//	func (s *Site) ring(v *visit) (reply, error) {
//		ring, err := s.api.Ring(v.Context(), v.PathValue("name"))
//		if err != nil {
//			return nil, err // becomes a page with its detail and hint
//		}
//		return view{Template: "ring", Title: ring.Name, Nav: "rings", Live: "*", Data: ring}, nil
//	}
//
//	func (s *Site) polish(v *visit) (reply, error) {
//		f, err := v.form()
//		…
//		return v.to("/rings/" + name, "ok", "The ring is polished"), nil
//	}
//
// and templates/ring.html, which defines the template of that name. Its dot is a
// *pageData: .Data is what the handler gave, .Admin says whether the reader may
// change things. components.html has what pages are made of. A region that is to
// be kept fresh has an id and the attribute data-live; the page is asked for
// again when the topic in Live changes ("*": anything, or the name of an
// instance), and the region is put in place of the old one.
//
// Every POST ends with a redirect, or with the same form and what is wrong in
// it. Nothing is changed by a GET. There is no inline style and no inline
// script: the Content-Security-Policy refuses both.
package pages
