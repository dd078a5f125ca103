package main

import (
	"context"
	"net"
	"strconv"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/certs"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/front"
)

// lead is the front with its doors. It opens them once an instance has a route,
// and shuts them when none has and no authority has to come in.
type lead struct {
	*front.Front
	https, plain *door // nil: off
	// certs are what it serves, once the system is put together.
	certs *bound
	// onRoutes is told whether any instance has routes; it may be nil.
	onRoutes func(some bool)

	mu     sync.Mutex
	routed map[string]bool // instances that have routes
}

var _ reconciler.Traffic = (*lead)(nil)

// newLead returns nil when the front is off.
func newLead(s settings, passed sockets, log *logrus.Entry) *lead {
	log = log.WithField("part", "front")
	l := &lead{https: doorOf(socketHTTPS, s.Front.HTTPS, passed, log), plain: doorOf(socketHTTP, s.Front.HTTP, passed, log),
		routed: map[string]bool{}}
	if l.https == nil && l.plain == nil {
		return nil
	}
	l.certs = &bound{}
	l.Front = front.New(front.Options{Log: log, AccessEvery: s.Front.AccessLog, HTTPSPort: l.port(),
		MaxConns: s.Front.Connections, MaxConnsPerClient: s.Front.perClient(),
		Certificates: l.certs, ACME: l.certs, ACMECertificate: l.certs.challenge})
	return l
}

// doorOf is nil when nothing is to listen.
func doorOf(name, address string, passed sockets, log *logrus.Entry) *door {
	list := passed[name]
	delete(passed, name)
	if len(list) == 0 && address == off {
		return nil
	}
	return newDoor(name, address, list, log)
}

// port is where plain HTTP is sent to; 0: where browsers go anyway.
func (l *lead) port() int {
	if l.https == nil {
		return 0
	}
	_, port, err := net.SplitHostPort(l.https.Addr().String())
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(port) // 0 is right when it is not a number
	return n
}

// Set implements reconciler.Traffic.
func (l *lead) Set(instance string, routes []reconciler.Route) {
	l.Front.Set(instance, routes)
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.routed) > 0
	if len(routes) > 0 {
		l.routed[instance] = true
	} else {
		delete(l.routed, instance)
	}
	l.open()
	if now := len(l.routed) > 0; l.onRoutes != nil && now != before {
		l.onRoutes(now)
	}
}

// open opens the doors, or shuts them. l.mu is held.
func (l *lead) open() {
	// An authority comes to the doors of a host that has no route yet.
	wanted := len(l.routed) > 0 || l.certs.Manager != nil && l.certs.NeedsChallenges()
	for _, d := range l.doors() {
		d.want(wanted)
	}
}

// doorkeeper has the doors follow which certificates are wanted: an instance
// without any route may want one that an authority has to come in for.
type doorkeeper struct {
	*certs.Manager
	lead *lead
}

// Set implements reconciler.Certificates.
func (k doorkeeper) Set(instance string, want reconciler.WantedCertificates) {
	k.Manager.Set(instance, want)
	k.lead.mu.Lock()
	defer k.lead.mu.Unlock()
	k.lead.open()
}

func (l *lead) doors() (list []*door) {
	for _, d := range []*door{l.plain, l.https} {
		if d != nil {
			list = append(list, d)
		}
	}
	return list
}

// Run serves until ctx ends.
func (l *lead) Run(ctx context.Context) error {
	var doors sync.WaitGroup
	defer doors.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, d := range l.doors() {
		doors.Go(func() { d.Run(ctx) })
	}
	return l.Front.Run(ctx, listener(l.https), listener(l.plain))
}

// listener keeps a door that is not there from looking like one that is.
func listener(d *door) net.Listener {
	if d == nil {
		return nil
	}
	return d
}

// listeners says where the front listens.
func (l *lead) listeners() (list []server.Listener) {
	for _, d := range l.doors() {
		list = append(list, d.info())
	}
	return list
}
