package main

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// frontSettings say where the front listens; "off" is nowhere.
type frontSettings struct {
	HTTP, HTTPS string
	AccessLog   int // one request of so many; 0: none

	Connections          int // open at a time, of each port
	ConnectionsPerClient int // of one address; 0: as many as there may be in all
}

// registrySettings say how registries are asked for what a channel means.
type registrySettings struct {
	CAFile   string
	Insecure []string
	Mirrors  map[string][]string // by registry host
}

const (
	defaultHTTP  = ":80"
	defaultHTTPS = ":443"
	off          = "off"

	maxAccessLog = 1_000_000

	// Six connections of each browser of an office behind one address, several
	// times over, and a tenth of all.
	defaultConnections          = 10_000
	defaultConnectionsPerClient = 1_000
	maxConnections              = 1_000_000
)

// address reads where to listen. A name instead of an IP address would be
// looked up once, at a time that nobody expects.
func address(field func(*settings) *string) func(*settings, []string) error {
	return one(func(s *settings, v string) error {
		if v == off {
			*field(s) = off
			return nil
		}
		host, port, err := net.SplitHostPort(v)
		if err != nil || host != "" && net.ParseIP(host) == nil {
			return errors.New("is not an address; for example :443, 192.0.2.1:443 or off")
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return errors.New("is not an address; a port is a number from 0 to 65535")
		}
		*field(s) = v
		return nil
	})
}

func setAccessLog(s *settings, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > maxAccessLog {
		return errors.New("is not a number from 0 to 1000000; 100 logs one request of a hundred")
	}
	s.Front.AccessLog = n
	return nil
}

func setConnections(s *settings, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > maxConnections {
		return errors.New("is not a number from 1 to 1000000")
	}
	s.Front.Connections = n
	return nil
}

func setConnectionsPerClient(s *settings, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > maxConnections {
		return errors.New("is not a number from 0 to 1000000; 0 is as many as front.connections")
	}
	s.Front.ConnectionsPerClient = n
	return nil
}

// perClient is for front.Options.
func (f frontSettings) perClient() int {
	if f.ConnectionsPerClient == 0 {
		return f.Connections
	}
	return f.ConnectionsPerClient
}

func setInsecure(s *settings, values []string) error {
	for _, v := range values {
		if v == "" || strings.ContainsAny(v, "/@ ") {
			return errors.New("is not a registry's host; for example registry.acme.com:5000")
		}
	}
	s.Registry.Insecure = values
	return nil
}

func setMirrors(s *settings, values []string) error {
	s.Registry.Mirrors = map[string][]string{}
	for _, v := range values {
		host, mirror, found := strings.Cut(v, "=")
		u, err := url.Parse(mirror)
		if !found || host == "" || strings.ContainsAny(host, "/@ ") || err != nil || u.Host == "" || u.User != nil ||
			(u.Scheme != "https" && u.Scheme != "http") {
			return errors.New("is not HOST=URL; for example docker.io=https://mirror.acme.com")
		}
		s.Registry.Mirrors[host] = append(s.Registry.Mirrors[host], mirror)
	}
	return nil
}
