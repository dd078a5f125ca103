package git

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

type scheme int

const (
	schemeLocal scheme = iota
	schemeHTTP
	schemeSSH
)

// address is a parsed Options.Repo. Its String holds no password.
type address struct {
	scheme scheme
	url    *url.URL // http and https, without user information
	user   string
	pass   string // only from the URL itself
	host   string // ssh: host:port
	path   string // local: the path; ssh: the path on the server
}

func (a address) String() string {
	switch a.scheme {
	case schemeHTTP:
		return a.url.String()
	case schemeSSH:
		if host, _, err := net.SplitHostPort(a.host); err == nil && a.relative() {
			return a.user + "@" + host + ":" + a.path
		}
		u := url.URL{Scheme: "ssh", User: url.User(a.user), Host: a.host, Path: "/" + strings.TrimPrefix(a.path, "/")}
		return u.String()
	default:
		return a.path
	}
}

// relative tells whether an ssh path begins where the server puts its users,
// which only the form user@host:path can say.
func (a address) relative() bool {
	return !strings.HasPrefix(a.path, "/") && !strings.HasPrefix(a.path, "~")
}

// parseAddress tells what kind of repository s names. Its errors never repeat
// s, which may hold a password.
func parseAddress(s string) (address, error) {
	if s == "" {
		return address{}, errors.New("parse repo: it is empty; give a URL or a path")
	}
	if strings.ContainsAny(s, "\x00\n\r") {
		return address{}, errors.New("parse repo: it holds a control character")
	}
	if strings.Contains(s, "://") {
		return parseURL(s)
	}
	colon, slash := strings.IndexByte(s, ':'), strings.IndexByte(s, '/')
	if colon > 0 && (slash < 0 || colon < slash) {
		return parseSCP(s[:colon], s[colon+1:])
	}
	return address{scheme: schemeLocal, path: s}, nil
}

func parseURL(s string) (address, error) {
	u, err := url.Parse(s)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		// The cause may quote a part of the URL, as "invalid port" does with a
		// password that holds a colon.
		if strings.Contains(s, "@") {
			err = errors.New("not a valid URL (is a character of the user name or password not percent-encoded?)")
		}
		return address{}, fmt.Errorf("parse repo: %w", err)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return address{}, errors.New("parse repo: a query or fragment has no meaning here")
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" || u.Path == "" {
			return address{}, errors.New("parse repo: a file URL is file:///absolute/path")
		}
		return address{scheme: schemeLocal, path: u.Path}, nil
	case "http", "https":
		return parseHTTP(u)
	case "ssh", "git+ssh", "ssh+git":
		return parseSSH(u)
	}
	return address{}, fmt.Errorf("parse repo: scheme %q is not supported; use https, ssh, file or a path", u.Scheme)
}

func parseHTTP(u *url.URL) (address, error) {
	if u.Hostname() == "" || strings.Trim(u.Path, "/") == "" {
		return address{}, errors.New("parse repo: the URL needs a host and a path")
	}
	a := address{scheme: schemeHTTP}
	if u.User != nil {
		a.user = u.User.Username()
		a.pass, _ = u.User.Password()
	}
	bare := *u
	bare.User = nil
	bare.Path = strings.TrimRight(u.Path, "/")
	bare.RawPath = strings.TrimRight(u.RawPath, "/")
	a.url = &bare
	return a, nil
}

func parseSSH(u *url.URL) (address, error) {
	host, port := u.Hostname(), u.Port()
	if host == "" || strings.Trim(u.Path, "/") == "" {
		return address{}, errors.New("parse repo: the URL needs a host and a path")
	}
	if _, has := u.User.Password(); has {
		return address{}, errors.New("parse repo: a password in an ssh URL is not supported; use sshKeyFile")
	}
	path := u.Path
	if strings.HasPrefix(path, "/~") { // as git has it: relative to a home directory
		path = path[1:]
	}
	return sshAddress(u.User.Username(), host, port, path)
}

func parseSCP(host, path string) (address, error) {
	user := ""
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		user, host = host[:at], host[at+1:]
	}
	if host == "" || path == "" || !plainName(user) || !plainName(host) {
		return address{}, errors.New("parse repo: not of the form user@host:path")
	}
	return sshAddress(user, host, "", path)
}

// plainName allows what is in names of users and hosts.
func plainName(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-", c) {
			return false
		}
	}
	return true
}

func sshAddress(user, host, port, path string) (address, error) {
	if strings.HasPrefix(host, "-") || strings.HasPrefix(path, "-") || strings.ContainsAny(path, "\x00\n") {
		return address{}, errors.New("parse repo: host and path must not begin with a dash or hold control characters")
	}
	if strings.Trim(path, "/") == "" {
		return address{}, errors.New("parse repo: it needs a host and a path")
	}
	if user == "" {
		user = "git"
	}
	if port == "" {
		port = "22"
	}
	return address{scheme: schemeSSH, user: user, host: net.JoinHostPort(host, port), path: path}, nil
}

// loopback tells whether plain http to this address stays on the machine.
func (a address) loopback() bool {
	h := a.url.Hostname()
	ip := net.ParseIP(h)
	return h == "localhost" || ip != nil && ip.IsLoopback()
}
