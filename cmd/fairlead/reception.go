package main

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
	"github.com/fairlead/fairlead/server/pages"
)

// reception is where people and programs reach the API and the pages: an
// address of this host, and under a name of their own through the front.
type reception struct {
	*door
	settings serverSettings
	lead     *lead // nil: there is no front
}

// ownRoute stands for the daemon among the instances of the front. No instance
// can have this name.
const ownRoute = "_server"

// newReception returns nil when nobody is to come in.
func newReception(s settings, l *lead, log *logrus.Entry) *reception {
	address := s.Server.Listen
	if address == off {
		if s.Server.Certificate == "" {
			return nil
		}
		address = "127.0.0.1:0" // for the front alone
	}
	d := newDoor("server", address, nil, log.WithField("part", "server"))
	d.what = "the API and the pages"
	d.want(true)
	return &reception{door: d, settings: s.Server, lead: l}
}

// Run keeps the address open until ctx ends, and leads the host's own name to it.
func (r *reception) Run(ctx context.Context, h http.Handler) error {
	done := make(chan struct{})
	go func() { defer close(done); r.door.Run(ctx) }()
	defer func() { <-done }()
	go r.announce(ctx)
	return server.ServeHTTP(ctx, r.door, h)
}

// visitors is what those who come in are answered by. close ends open streams.
func (s *system) visitors(log *logrus.Entry) (h http.Handler, close func()) {
	site := pages.New(pages.Options{
		API: s.api, Log: log.WithField("part", "pages"),
		Setup: func(context.Context) bool {
			open, err := s.people.SetupOpen()
			return open && err == nil // whoever cannot be looked up cannot sign in either, and is told
		},
		Valid:  func(_ context.Context, c auth.Caller) bool { return s.people.Valid(c) },
		Secure: func(r *http.Request) bool { return s.people.Visit(r).Secure },
	})
	public := server.Public{People: s.people, Hosts: []string{s.entrance.settings.Host}, Pages: site}
	return s.api.PublicHandler(public), site.Close
}

// announce waits until the address is known.
func (r *reception) announce(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-r.isOpen():
	}
	if host, _, err := net.SplitHostPort(r.Addr().String()); err == nil && !isLoopback(host) {
		r.log.Warn("The API and the pages are open to the network without TLS here: set server.host and server.certificate, or listen on 127.0.0.1")
	}
	if r.lead == nil || r.settings.Certificate == "" {
		return
	}
	r.lead.Set(ownRoute, []reconciler.Route{{
		FrontRoute: desired.FrontRoute{Host: r.settings.Host, Certificate: r.settings.Certificate, Service: "server", RedirectHTTP: true},
		Endpoints:  []reconciler.Endpoint{{Container: "server", Address: r.reachable()}},
	}})
}

// reachable is the address as a process of this host reaches it.
func (r *reception) reachable() netip.AddrPort {
	at, err := netip.ParseAddrPort(r.Addr().String())
	if err != nil {
		return netip.AddrPort{}
	}
	if at.Addr().IsUnspecified() {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port())
	}
	return at
}

// listener says where it is.
func (r *reception) listener() server.Listener {
	l := r.info()
	if l.Open {
		l.URL = r.url()
	}
	return l
}

// url is the address for people, as well as it is known.
func (r *reception) url() string {
	if r.settings.Certificate != "" {
		return "https://" + r.settings.Host
	}
	return "http://" + r.reachable().String()
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}

// ownCertificate finds the certificate of the daemon's own host: INSTANCE/NAME,
// or NAME of the first instance that has one for the host.
func (b *bound) ownCertificate(name string) (instance, certificate string) {
	if instance, certificate, qualified := strings.Cut(name, "/"); qualified {
		return instance, certificate
	}
	if b.instances == nil {
		return "", name
	}
	for _, r := range b.instances() {
		for _, c := range r.Status().Certificates {
			if c.Name == name {
				return r.Name(), name
			}
		}
	}
	return "", name
}
