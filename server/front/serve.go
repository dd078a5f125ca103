package front

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
)

// Run serves until ctx ends; either listener may be nil. Then it accepts no
// more, lets what is in flight end, and cuts off what has not after the
// shutdown time. It closes the listeners. It may be called once.
func (f *Front) Run(ctx context.Context, https, plain net.Listener) error {
	defer f.stop()
	grace := time.AfterFunc(f.opts.StartGrace, f.Ready)
	defer grace.Stop()
	group, ctx := errgroup.WithContext(ctx)
	var servers []*server
	if https != nil {
		srv := f.server(http.HandlerFunc(f.serveTLS), https)
		srv.TLSConfig = f.tlsConfig()
		servers = append(servers, srv)
		group.Go(func() error { return f.ended("https", srv.ServeTLS(srv.limited, "", "")) })
	}
	if plain != nil {
		srv := f.server(http.HandlerFunc(f.servePlain), plain)
		servers = append(servers, srv)
		group.Go(func() error { return f.ended("http", srv.Serve(srv.limited)) })
	}
	group.Go(func() error { f.watchCertificates(ctx); return nil })
	group.Go(func() error {
		<-ctx.Done()
		f.shutdown(servers)
		return nil
	})
	return group.Wait()
}

func (f *Front) ended(what string, err error) error {
	if errors.Is(err, http.ErrServerClosed) || f.leaving.Load() && errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", what, err)
}

// streamWindow is how much of a body an HTTP/2 client may send before it is read.
const streamWindow = 256 << 10

// server is a server with its listener.
type server struct {
	*http.Server
	limited *limited
}

func (f *Front) server(h http.Handler, l net.Listener) *server {
	return &server{limited: f.limit(l), Server: &http.Server{
		Handler:           f.lastAnswers(h),
		ConnState:         begun,
		ReadHeaderTimeout: f.opts.ReadHeaderTimeout,
		IdleTimeout:       f.opts.IdleTimeout,
		MaxHeaderBytes:    f.opts.MaxHeaderBytes,
		ErrorLog:          log.New(&serverLog{f}, "", 0),
		// A held request's body waits in the stream's window.
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 250, MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: 1 << 20},
	}}
}

// lastAnswers asks clients to come back on another connection once the front
// is about to go: an HTTP/2 connection ends with GOAWAY after it. A change of
// protocol keeps its own Connection header.
func (f *Front) lastAnswers(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.leaving.Load() && r.Header["Upgrade"] == nil {
			w.Header()["Connection"] = []string{"close"}
		}
		h.ServeHTTP(w, r)
	})
}

// shutdown ends the servers. What is held is refused one fifth before the end,
// so that the answers still arrive.
//
// Shutdown of http.Server closes connections that it has accepted and read
// nothing from yet, and idle ones at the moment when their next request may be
// on its way. So both are given a while first, in which nothing is accepted
// any more: connections that arrive now wait for a successor on the same
// socket, if there is one.
func (f *Front) shutdown(servers []*server) {
	f.Ready()
	f.leaving.Store(true)
	limit := f.opts.ShutdownTimeout
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	flush := time.AfterFunc(limit*4/5, f.refuseHeld)
	defer flush.Stop()
	var wait sync.WaitGroup
	for _, srv := range servers {
		wait.Go(func() {
			_ = srv.limited.Close() // Serve says what is wrong with it
			srv.limited.settle(ctx, limit)
			if srv.Shutdown(ctx) != nil { // out of time
				_ = srv.Close() // what is closed twice is closed
			}
		})
	}
	wait.Wait()
	f.refuseHeld()
	f.stop()
	f.killAll()
}

// refuseHeld refuses what is held and holds nothing more.
func (f *Front) refuseHeld() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopping = true
	for _, inst := range f.instances {
		for _, rt := range inst.routes {
			rt.refuseAll(errStopping)
		}
	}
}

// killAll closes every connection to a container, and with them the tunnels,
// which no server waits for.
func (f *Front) killAll() {
	f.mu.Lock()
	var all []*endpoint
	for _, inst := range f.instances {
		for _, ep := range inst.endpoints {
			all = append(all, ep)
		}
		all = append(all, inst.leaving...)
	}
	f.mu.Unlock()
	for _, ep := range all {
		ep.kill()
	}
}

// serverLog takes what net/http has to say.
type serverLog struct{ front *Front }

func (l *serverLog) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	level := logrus.DebugLevel // what clients do wrong is no news
	switch {
	case strings.HasPrefix(line, "http: TLS handshake error"):
		l.front.total.handshakes.Add(1)
	case strings.HasPrefix(line, "http: panic serving"):
		level = logrus.ErrorLevel
	case strings.HasPrefix(line, "http: Accept error"):
		level = logrus.WarnLevel
	}
	l.front.log.Log(level, line)
	return len(p), nil
}
