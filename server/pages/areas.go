package pages

// areas are the functions that register pages; each area has one.
func (s *Site) areas() []func() {
	return []func(){
		s.commonRoutes,
	}
}

// commonRoutes are what every page needs.
func (s *Site) commonRoutes() {
	s.page("POST /theme", everybody, s.chooseTheme)
	s.mux.HandleFunc("GET /live", s.live)
}
