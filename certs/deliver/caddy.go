package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	adminPort = "2019"
	// maxConfig bounds a Caddy's configuration; most take some kilobytes.
	maxConfig = 16 << 20
	// readLimit is how long Caddy may take to give it out.
	readLimit = 5 * time.Second
	// maxAdminError bounds what is read of an error of the admin API.
	maxAdminError = 4 << 10
)

// admin is where a Caddy's admin API listens: at an address of this host or of
// the service's containers, or, without a host, at a port of all of those.
type admin struct {
	host, port string
}

func (a admin) String() string { return "http://" + net.JoinHostPort(a.host, a.port) }

var errAdmin = errors.New("the address of a Caddy's admin API is http://HOST:PORT with HOST an address of this host, or :PORT of the service's containers")

func parseAdmin(s string) (admin, error) {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return admin{}, errAdmin // not what was given: it may hold a login
	}
	a := admin{u.Hostname(), u.Port()}
	if a.port == "" {
		a.port = adminPort
	}
	if a.host == "" || a.host == "localhost" {
		return a, nil
	}
	if _, err := netip.ParseAddr(a.host); err != nil {
		return admin{}, errAdmin
	}
	return a, nil
}

// endpoints are the addresses to connect to. The API can do anything to a Caddy
// and asks for no login, so none is asked but this host's and the containers'.
func (a admin) endpoints(containers []netip.Addr) ([]string, error) {
	switch a.host {
	case "":
		list := make([]string, len(containers))
		for i, c := range containers {
			list[i] = net.JoinHostPort(c.String(), a.port)
		}
		return list, nil
	case "localhost":
		return []string{net.JoinHostPort("127.0.0.1", a.port)}, nil
	}
	addr, err := netip.ParseAddr(a.host)
	if err != nil {
		return nil, errAdmin
	}
	if addr = addr.Unmap(); !addr.IsLoopback() && !slices.Contains(containers, addr) {
		return nil, fmt.Errorf("%s is neither this host nor a container of the service: the admin API is asked at no other place", addr)
	}
	return []string{net.JoinHostPort(addr.String(), a.port)}, nil
}

// reload has a Caddy load the configuration again that it runs, and with it
// the files of its certificates.
func (a admin) reload(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), endpoint string) error {
	host := net.JoinHostPort(a.host, a.port)
	if a.host == "" {
		host = endpoint
	}
	tr := &http.Transport{
		Proxy: nil, DisableCompression: true, DisableKeepAlives: true, MaxResponseHeaderBytes: 32 << 10,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, endpoint) },
	}
	defer tr.CloseIdleConnections()
	c := adminClient{host: host, http: &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("it redirects, which an admin API does not")
	}}}
	err := c.reload(ctx)
	if errors.Is(err, errConfigChanged) { // by somebody else, between the two calls
		err = c.reload(ctx)
	}
	if err != nil {
		return fmt.Errorf("reload Caddy through %s: %w", endpoint, err)
	}
	return nil
}

type adminClient struct {
	host string // as Caddy knows it: it refuses other names
	http *http.Client
}

var errConfigChanged = errors.New("its configuration is being changed by somebody else")

// reload sends back what it got. Without must-revalidate Caddy would do nothing
// for a configuration that it has already, whatever the files say; If-Match
// keeps a change of somebody else from being undone.
func (c adminClient) reload(ctx context.Context) error {
	config, tag, err := c.get(ctx)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.host+"/config/", bytes.NewReader(config))
	if err != nil {
		return errAdmin
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Cache-Control", "must-revalidate")
	if tag != "" {
		req.Header.Set("If-Match", tag)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return plain(err)
	}
	defer resp.Body.Close()
	return refusal(resp)
}

func (c adminClient) get(ctx context.Context) (config []byte, tag string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.host+"/config/", nil)
	if err != nil {
		return nil, "", errAdmin
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, "", plain(err)
	}
	defer resp.Body.Close()
	if err := refusal(resp); err != nil {
		return nil, "", err
	}
	config, err = io.ReadAll(io.LimitReader(resp.Body, maxConfig+1))
	switch trimmed := bytes.TrimSpace(config); {
	case err != nil:
		return nil, "", plain(err)
	case len(config) > maxConfig:
		return nil, "", fmt.Errorf("its configuration is larger than %d MiB", maxConfig>>20)
	case bytes.Equal(trimmed, []byte("null")):
		return nil, "", errors.New("it has no configuration")
	case !bytes.HasPrefix(trimmed, []byte("{")) || !json.Valid(trimmed):
		return nil, "", errors.New("what it gave is no configuration: is this a Caddy's admin API?")
	}
	return config, resp.Header.Get("Etag"), nil
}

// refusal is nil for a success, and else what the API said, cut short.
func refusal(resp *http.Response) error {
	switch {
	case resp.StatusCode == http.StatusPreconditionFailed:
		return errConfigChanged
	case resp.StatusCode/100 == 2:
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAdminError)) // what there is of it
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(text, &said) == nil && said.Error != "" {
		return fmt.Errorf("it answers %d: %s", resp.StatusCode, quote(said.Error, 300))
	}
	return fmt.Errorf("it answers %d: %s", resp.StatusCode, quote(string(text), 100))
}

// plain takes the URL off, which the caller says better.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("it does not answer in time")
	}
	return err
}
