package pages

// areas are the functions that register pages; each area has one.
func (s *Site) areas() []func() {
	return []func(){
		s.commonRoutes,
		s.dashboardRoutes, s.instanceRoutes, s.actionRoutes, s.certificateRoutes,
		s.setupRoutes,
		s.loginRoutes,
		s.accountRoutes,
		s.userRoutes,
		s.auditRoutes,
		s.dataRoutes,
		s.addRoutes,
		s.queryRoutes,
	}
}

// commonRoutes are what every page needs.
func (s *Site) commonRoutes() {
	s.page("POST /theme", everybody, s.chooseTheme)
	s.mux.HandleFunc("GET /live", s.live)
}
