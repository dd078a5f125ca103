package dns01

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

const (
	googleScope    = "https://www.googleapis.com/auth/ndev.clouddns.readwrite"
	googleMetadata = "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token"
)

// google speaks the Cloud DNS API v1, as a service account by its key, or as the
// one of the VM.
type google struct {
	*rest
	base string
}

func openGoogle(s settings) (backend, error) {
	t := &tokens{fetch: googleVMToken}
	if text := s["service_account_json"]; text != "" {
		a, err := readServiceAccount([]byte(text))
		if err != nil {
			return nil, err
		}
		t.fetch = a.token
	}
	base := "https://dns.googleapis.com/dns/v1/projects/" + url.PathEscape(s["gcp_project"])
	return bySet{&google{newRest(t.sign), base}}, nil
}

func googleVMToken(ctx context.Context) (a tokenAnswer, err error) {
	_, err = newRest(nil).call(ctx, http.MethodGet, googleMetadata, http.Header{"Metadata-Flavor": {"Google"}}, nil, &a)
	return a, err
}

type serviceAccount struct {
	Email    string `json:"client_email"`
	Key      string `json:"private_key"`
	TokenURI string `json:"token_uri"`

	rsa *rsa.PrivateKey
}

func readServiceAccount(text []byte) (*serviceAccount, error) {
	var a serviceAccount
	if err := json.Unmarshal(text, &a); err != nil {
		return nil, errors.New("service_account_json is no JSON") // the error could quote the key
	}
	block, _ := pem.Decode([]byte(a.Key))
	if block == nil {
		return nil, errors.New("service_account_json has no private_key")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("service_account_json: private_key: %w", err)
	}
	var ok bool
	if a.rsa, ok = key.(*rsa.PrivateKey); !ok {
		return nil, errors.New("service_account_json: private_key is not RSA")
	}
	if u, err := url.Parse(a.TokenURI); err != nil || u.Host == "" || (u.Scheme != "https" && u.Hostname() != "127.0.0.1") {
		return nil, errors.New("service_account_json: token_uri is no https URL")
	}
	return &a, nil
}

// token trades a signed claim for a token (RFC 7523).
func (s *serviceAccount) token(ctx context.Context) (a tokenAnswer, err error) {
	now := time.Now().Unix()
	claim, err := json.Marshal(map[string]any{"iss": s.Email, "scope": googleScope, "aud": s.TokenURI, "iat": now, "exp": now + 3600})
	if err != nil {
		return a, err
	}
	b64 := base64.RawURLEncoding
	text := b64.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + b64.EncodeToString(claim)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, s.rsa, crypto.SHA256, sum[:])
	if err != nil {
		return a, err
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {text + "." + b64.EncodeToString(sig)}}
	_, err = newRest(nil).call(ctx, http.MethodPost, s.TokenURI, nil, form, &a)
	return a, err
}

// zone is the public zone of a name; a private one of the same name is not seen
// by an authority.
func (g *google) zone(ctx context.Context, name string) (string, error) {
	var answer struct {
		Zones []struct{ Name, Visibility string } `json:"managedZones"`
	}
	if _, err := g.call(ctx, http.MethodGet, g.base+"/managedZones?dnsName="+url.QueryEscape(name+"."), nil, nil, &answer); err != nil {
		return "", err
	}
	for _, z := range answer.Zones {
		if z.Visibility != "private" {
			return g.base + "/managedZones/" + url.PathEscape(z.Name), nil
		}
	}
	return "", fmt.Errorf("the project has no public zone %s", name)
}

type googleSet struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	TTL     int      `json:"ttl"`
	Rrdatas []string `json:"rrdatas"`
}

func (g *google) read(ctx context.Context, t txt) (rrset, error) {
	zone, err := g.zone(ctx, t.zone)
	if err != nil {
		return rrset{}, err
	}
	var answer struct {
		Sets []googleSet `json:"rrsets"`
	}
	query := url.Values{"name": {t.name + "."}, "type": {"TXT"}}
	if _, err := g.call(ctx, http.MethodGet, zone+"/rrsets?"+query.Encode(), nil, nil, &answer); err != nil {
		return rrset{}, err
	}
	set := rrset{tag: zone}
	for _, s := range answer.Sets {
		set.ttl = s.TTL
		for _, v := range s.Rrdatas {
			set.values = append(set.values, unquote(v))
		}
	}
	return set, nil
}

// write is refused when what it deletes is not what is there.
func (g *google) write(ctx context.Context, t txt, was, now rrset) error {
	change := map[string][]googleSet{}
	for what, set := range map[string]rrset{"deletions": was, "additions": now} {
		if len(set.values) == 0 {
			continue
		}
		s := googleSet{Name: t.name + ".", Type: "TXT", TTL: set.ttl}
		for _, v := range set.values {
			s.Rrdatas = append(s.Rrdatas, quote(v))
		}
		change[what] = []googleSet{s}
	}
	_, err := g.call(ctx, http.MethodPost, was.tag+"/changes", nil, change, nil)
	if isCode(err, http.StatusConflict, http.StatusPreconditionFailed) {
		return fmt.Errorf("%w: %w", errChanged, err)
	}
	return err
}
