package desired

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

var hostRegexp = pat(`^` + hostName + `$`)

// certificateSyntaxes are those of the keys under certificates.
func certificateSyntaxes() map[string]syntax {
	return map[string]syntax{
		"domain":  {what: "a domain", pattern: pat(`^((\*\.)?` + hostName + `|[0-9a-f.]*:[0-9a-f:.]*)$`), example: "data.acme.com", check: checkDomain},
		"certRef": {quiet: true, what: "a reference to certificates", pattern: refPattern, example: "https://pki.acme.com/data/fullchain.pem", advise: adviseReference, check: checkReference},
		"keyRef":  {quiet: true, what: "a reference to a private key", pattern: refPattern, example: "sm://acme-data-key", advise: adviseReference, check: checkReference},
		"subject": {what: "a subject", pattern: pat(`^/`), example: "/C=CZ/O=Acme/CN=data.acme.com", check: checkSubject,
			hint: "C, ST, L, O, OU, CN and the like, as in /C=CZ/O=Acme/CN=data.acme.com"},
		"keyKind":      {what: "a kind of key", words: []string{"rsa2048", "rsa3072", "rsa4096", "p256", "p384", "ed25519"}},
		"acmeKey":      {what: "a kind of key for ACME", words: []string{"p256", "p384", "rsa2048", "rsa3072", "rsa4096"}},
		"pin":          {what: "a pin", pattern: pat(`^sha256/[A-Za-z0-9+/]{43}=$`), example: "sha256/" + strings.Repeat("A", 43) + "=", hint: "sha256/ and the hash of a public key in base64", check: checkPin},
		"secretName":   {what: "the name of a secret", pattern: secretName, example: "PKI_TOKEN"},
		"directory":    {quiet: true, what: "the https URL of an ACME directory", pattern: pat(`^https://`), example: DefaultDirectory, check: checkURL},
		"profileName":  {what: "a profile", pattern: pat(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`), example: "shortlived"},
		"keyID":        {what: "a key ID", pattern: pat(`^[\x21-\x7e]{1,255}$`), example: "kid-1"},
		"macKey":       {quiet: true, what: "a MAC key in base64url", pattern: pat(`^([A-Za-z0-9_-]+=*|\$\{secret:[A-Za-z_][A-Za-z0-9_]*\})$`), example: "${secret:EAB_MAC_KEY}", hint: "write ${secret:NAME}", check: checkMACKey},
		"challenge":    {what: "a challenge", words: []string{"http-01", "tls-alpn-01", "dns-01"}},
		"dnsProvider":  {what: "a DNS provider", words: dnsProviderNames()},
		"setting":      {what: "a setting of a DNS provider", pattern: pat(`^[a-z][a-z0-9_]{0,63}$`), example: "api_token"},
		"settingValue": {quiet: true, what: "the value of a setting", check: checkNoNUL, example: "${secret:CLOUDFLARE_TOKEN}", hint: "a secret is written ${secret:NAME}"},
		"resolver":     {what: "a name server", pattern: pat(`^[A-Za-z0-9.:\[\]-]+$`), example: "192.0.2.53:53", check: checkResolver},
		"record":       {what: "the name of a record", pattern: pat(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$`), example: "data.acme.challenges.net", check: checkHost},
		"recordTTL":    {what: "a time", min: int64(time.Minute), max: int64(24 * time.Hour), example: "5m"},
		"appear":       {what: "a time", min: int64(time.Second), max: int64(time.Hour), example: "2m"},
		"within":       {what: "a time", min: int64(time.Second), max: int64(30 * time.Second), example: "30s"},
		"deliverDir":   {what: "an absolute path of a directory", pattern: pat(`^/`), example: "/srv/caddy/tls", check: checkDeliverDir},
		"owner":        {what: "UID:GID in numbers", pattern: pat(`^[0-9]{1,10}:[0-9]{1,10}$`), example: "999:999", hint: "in numbers, as id -u and id -g print them: 999:999", check: checkOwner},
		"keyMode":      {what: "a mode", words: []string{"0600", "0640", "0440", "0400"}},
		"pairFormat":   {what: "a format", words: []string{"pem", "combined", "p12"}},
		"password":     {quiet: true, what: "a password", pattern: pat(`^[^\x00-\x1f\x7f]+$`), example: "${secret:KEYSTORE_PASSWORD}", hint: "one line; write ${secret:NAME}"},
		"signal":       {what: "a signal", words: []string{"SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGINT", "SIGQUIT", "SIGTERM", "SIGALRM", "SIGCONT", "SIGURG"}},
		"adminURL":     {quiet: true, what: "the URL of an admin API", pattern: pat(`^(http://|:[0-9]{1,5}$)`), example: "http://127.0.0.1:2019", hint: "http://127.0.0.1:2019, or :2019 of the containers of service", check: checkAdminURL},
		"prove":        {what: "HOST:PORT or :PORT", pattern: pat(`^[A-Za-z0-9._\[\]:-]*:[0-9]{1,5}$`), example: "127.0.0.1:443", check: checkProve},
	}
}

// checkDomain refuses names that no certificate is for: all in digits without
// being an address, and stars over a whole top-level domain.
func checkDomain(s string) error {
	if strings.Contains(s, ":") {
		if a, err := netip.ParseAddr(s); err != nil || a.Is4In6() {
			return errors.New("it is no address")
		}
		return nil
	}
	name, wild := strings.CutPrefix(s, "*.")
	last := name[strings.LastIndexByte(name, '.')+1:]
	if _, err := netip.ParseAddr(name); strings.Trim(last, "0123456789") == "" && (err != nil || wild) {
		return errors.New("it ends with a number and is no address")
	}
	if wild && !strings.Contains(name, ".") {
		return errors.New("a star needs two labels after it")
	}
	return checkHost(s)
}

func checkPin(s string) error {
	if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "sha256/")); err != nil || len(sum) != 32 {
		return errors.New("it is not 32 bytes in base64")
	}
	return nil
}

func checkMACKey(s string) error {
	if secretUse.MatchString(s) {
		return nil // it is looked at once it is filled in
	}
	if _, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "=")); err != nil {
		return errors.New("it does not decode")
	}
	return nil
}

// checkPort says whether text is a port.
func checkPort(s string) error {
	if n, err := strconv.Atoi(s); err != nil || n < 1 || n > 65535 {
		return errors.New("the port is not between 1 and 65535")
	}
	return nil
}

// checkResolver wants an address, or a name, with or without a port.
func checkResolver(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), "53"
	}
	if _, err := netip.ParseAddr(host); err != nil && !hostRegexp.MatchString(strings.ToLower(host)) {
		return errors.New("its host is not a name and not an address")
	}
	return checkPort(port)
}

// withPort gives a name server its port.
func withPort(resolver string) string {
	if _, _, err := net.SplitHostPort(resolver); err == nil {
		return resolver
	}
	return net.JoinHostPort(strings.Trim(resolver, "[]"), "53")
}

func checkDeliverDir(s string) error {
	switch {
	case strings.ContainsRune(s, 0):
		return errors.New("it has a NUL")
	case path.Clean(s) != s:
		return fmt.Errorf("write %s", path.Clean(s))
	case s == "/":
		return errors.New("it is the root of the host")
	}
	return nil
}

// checkOwner leaves out 2^32-1, which means nobody in particular to chown(2).
func checkOwner(s string) error {
	for id := range strings.SplitSeq(s, ":") {
		if n, err := strconv.ParseUint(id, 10, 32); err != nil || n == math.MaxUint32 {
			return fmt.Errorf("%s is no ID", id)
		}
	}
	return nil
}

func checkAdminURL(s string) error {
	if port, ofService := strings.CutPrefix(s, ":"); ofService {
		return checkPort(port)
	}
	if err := checkURL(s); err != nil {
		return err
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery {
		return errors.New("write scheme, host and port only")
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil && u.Hostname() != "localhost" {
		return errors.New("its host is not an address: the admin API asks for no login, so it is asked on this host and at the containers of service only")
	}
	if u.Port() != "" {
		return checkPort(u.Port())
	}
	return nil
}

func checkProve(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("an IPv6 address stands in brackets")
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && !hostRegexp.MatchString(strings.ToLower(host)) {
		return errors.New("its host is not a name and not an address")
	}
	return checkPort(port)
}
