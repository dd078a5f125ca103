package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// The ways in which requests are made.
const (
	keepAlive = "HTTP/1.1"       // many requests on one connection
	overHTTP2 = "HTTP/2"         // 16 streams on each connection
	anew      = "new connection" // with a full TLS handshake for each request
)

// volley is what a number of clients, who ask as fast as they are answered, got in a time.
type volley struct {
	Requests int     `json:"requests"`
	Failed   int     `json:"failed"`
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Why      string  `json:"why,omitempty"` // one of the failures
}

// shooter is one client.
type shooter struct {
	ask     func() error
	close   func()
	took    []time.Duration
	failed  int
	failure error
}

// shoot makes requests, says "go" after the warm-up, and tells at the end what it got.
func shoot(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	addr, kind := flags.String("addr", "", ""), flags.String("kind", keepAlive, "")
	clients := flags.Int("clients", 64, "")
	warm, long := flags.Duration("warm", time.Second, ""), flags.Duration("for", time.Second, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	list, err := shooters(*kind, *addr, *clients)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var counting atomic.Bool
	var all sync.WaitGroup
	for _, s := range list {
		all.Go(func() { s.run(ctx, &counting) })
	}
	if err := pause(ctx, *warm); err != nil {
		return err
	}
	counting.Store(true)
	began := time.Now()
	if _, err := fmt.Fprintln(out, "go"); err != nil {
		return err
	}
	if err := pause(ctx, *long); err != nil {
		return err
	}
	counting.Store(false)
	took := time.Since(began)
	cancel()
	all.Wait()
	return json.NewEncoder(out).Encode(sum(list, took))
}

func sum(list []*shooter, took time.Duration) volley {
	v := volley{Seconds: took.Seconds()}
	var all []time.Duration
	for _, s := range list {
		all = append(all, s.took...)
		v.Failed += s.failed
		if s.failure != nil {
			v.Why = s.failure.Error()
		}
	}
	v.Requests = len(all)
	slices.Sort(all)
	if n := len(all); n > 0 {
		v.P50, v.P99 = milliseconds(all[n/2]), milliseconds(all[n*99/100])
	}
	return v
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (s *shooter) run(ctx context.Context, counting *atomic.Bool) {
	defer s.close()
	for ctx.Err() == nil {
		began := time.Now()
		err := s.ask()
		switch {
		case !counting.Load():
		case err != nil:
			s.failed, s.failure = s.failed+1, err
		default:
			s.took = append(s.took, time.Since(began))
		}
	}
}

func clientTLS(protocol string) *tls.Config {
	// What is measured is a proxy on loopback whose certificate was made for the occasion.
	return &tls.Config{ServerName: proxyHost, InsecureSkipVerify: true, NextProtos: []string{protocol}}
}

const streams = 16 // of one connection

func shooters(kind, addr string, n int) ([]*shooter, error) {
	list := make([]*shooter, n)
	var tr *http.Transport
	for i := range list {
		switch kind {
		case keepAlive, anew:
			c := &rawClient{addr: addr, again: kind == keepAlive}
			list[i] = &shooter{ask: c.ask, close: c.hangUp}
		case overHTTP2:
			if i%streams == 0 {
				tr = http2Transport(addr)
			}
			list[i] = &shooter{ask: asker(tr), close: tr.CloseIdleConnections}
		default:
			return nil, fmt.Errorf("there is no way %q to ask", kind)
		}
	}
	return list, nil
}

func http2Transport(addr string) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	return &http.Transport{Protocols: protocols, TLSClientConfig: clientTLS("h2"), DisableCompression: true, MaxConnsPerHost: 1,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}}
}

func asker(tr *http.Transport) func() error {
	return func() error {
		req, err := http.NewRequest(http.MethodGet, "https://"+proxyHost+"/", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
		return errors.Join(err, resp.Body.Close())
	}
}

// rawClient speaks just enough of HTTP/1.1, so that the proxy's share of the processors is large.
type rawClient struct {
	addr  string
	again bool // uses its connection again
	conn  *tls.Conn
	in    *bufio.Reader
}

const askLimit = 30 * time.Second

func (c *rawClient) ask() error {
	if c.conn == nil {
		if err := c.dial(); err != nil {
			return err
		}
	}
	err := c.exchange()
	if err != nil || !c.again {
		c.hangUp()
	}
	return err
}

func (c *rawClient) dial() error {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: askLimit}, "tcp", c.addr, clientTLS("http/1.1"))
	if err != nil {
		return err
	}
	c.conn, c.in = conn, bufio.NewReader(conn)
	return conn.SetDeadline(time.Now().Add(5 * time.Minute)) // no volley takes as long
}

func (c *rawClient) hangUp() {
	if c.conn != nil {
		_ = c.conn.NetConn().Close() // nothing is under way
		c.conn = nil
	}
}

const requestText = "GET / HTTP/1.1\r\nHost: " + proxyHost + "\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"

func (c *rawClient) exchange() error {
	if _, err := io.WriteString(c.conn, requestText); err != nil {
		return err
	}
	status, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("answered %.60q", status)
	}
	length := -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return fmt.Errorf("read Content-Length: %w", err)
			}
		}
	}
	if length < 0 {
		return errors.New("the answer has no Content-Length")
	}
	_, err = c.in.Discard(length)
	return err
}
