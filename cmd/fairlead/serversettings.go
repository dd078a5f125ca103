package main

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"

	"github.com/fairlead/fairlead/server"
)

// serverSettings say where the API and the pages are.
type serverSettings struct {
	Listen string // "off" is nowhere
	// Host is the name under which they are reached from elsewhere: through the
	// front with Certificate, else through a proxy of the user's own.
	Host        string
	Certificate string // NAME or INSTANCE/NAME
	// Proxies are the peers whose X-Forwarded-* headers are believed, beside
	// those of this host.
	Proxies []netip.Prefix
	// AccessLog says which requests are logged.
	AccessLog server.AccessLog
}

const defaultListen = "127.0.0.1:8700"

func serverOptions() []option {
	return []option{
		{flag: "listen", env: "FAIRLEAD_LISTEN", key: "server.listen", kind: "ADDRESS", help: "where the API and the pages are: HOST:PORT, or off (default " + defaultListen + ")", set: address(func(s *settings) *string { return &s.Server.Listen })},
		{flag: "server-host", env: "FAIRLEAD_SERVER_HOST", key: "server.host", kind: "HOST", help: "name under which the API and the pages are reached through the front or a proxy", set: one(setServerHost)},
		{flag: "server-certificate", env: "FAIRLEAD_SERVER_CERTIFICATE", key: "server.certificate", kind: "NAME", help: "certificate, NAME or INSTANCE/NAME, with which the front serves that host (default: the front does not)", set: one(setServerCertificate)},
		{flag: "trusted-proxy", env: "FAIRLEAD_TRUSTED_PROXIES", key: "server.trustedProxies", kind: "NETWORK", list: true, help: "address or network of a proxy whose X-Forwarded-* headers are believed; may be repeated (default: this host's own)", set: setTrustedProxies},
		{flag: "access-log", env: "FAIRLEAD_ACCESS_LOG", key: "server.accessLog", kind: "WHICH", help: "requests to the API and the pages that are logged: changes (and what is refused or fails), all or off (default changes)", set: one(setRequestLog)},
	}
}

var serverHostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

func setServerHost(s *settings, v string) error {
	v = strings.ToLower(v)
	if len(v) > 253 || !serverHostName.MatchString(v) {
		return errors.New("is not a host name; for example fairlead.acme.com, without a port")
	}
	s.Server.Host = v
	return nil
}

var certificateName = regexp.MustCompile(`^([a-z][a-z0-9-]{0,38}/)?[a-z][a-z0-9-]{0,38}$`)

func setServerCertificate(s *settings, v string) error {
	if !certificateName.MatchString(v) {
		return errors.New("is not a certificate's name; for example data, or acme/data where several instances have one")
	}
	s.Server.Certificate = v
	return nil
}

func setTrustedProxies(s *settings, values []string) error {
	s.Server.Proxies = nil
	for _, v := range values {
		network, err := netip.ParsePrefix(v)
		if addr, aerr := netip.ParseAddr(v); aerr == nil {
			network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return errors.New("is not an address or a network; for example 192.0.2.10 or 192.0.2.0/24")
		}
		s.Server.Proxies = append(s.Server.Proxies, network.Masked())
	}
	return nil
}

// check refuses what does not go together.
func (s serverSettings) check(front frontSettings) error {
	switch {
	case s.Certificate != "" && s.Host == "":
		return errors.New("server.certificate: there is no server.host that it is for; set both")
	case s.Certificate != "" && front.HTTPS == off:
		return errors.New("server.certificate: the front takes no HTTPS (front.https is off); take one of the two away")
	}
	return nil
}
