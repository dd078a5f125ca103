package dns01

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/fairlead/fairlead/certs/cloud"
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
		a, err := cloud.ReadAccount([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("service_account_json %w", err)
		}
		if u, err := url.Parse(a.TokenURI); err != nil || u.Host == "" || (u.Scheme != "https" && u.Hostname() != "127.0.0.1") {
			return nil, errors.New("service_account_json: token_uri is no https URL")
		}
		t.fetch = func(ctx context.Context) (cloud.Token, error) { return googleKeyToken(ctx, a) }
	}
	base := "https://dns.googleapis.com/dns/v1/projects/" + url.PathEscape(s["gcp_project"])
	return bySet{&google{newRest(t.sign), base}}, nil
}

// googleVMToken asks the metadata server of the VM. One that does not show its
// flavour is something else at that address.
func googleVMToken(ctx context.Context) (t cloud.Token, err error) {
	h, err := newRest(nil).call(ctx, http.MethodGet, googleMetadata, http.Header{"Metadata-Flavor": {"Google"}}, nil, &t)
	if err == nil && h.Get("Metadata-Flavor") != "Google" {
		err = errors.New("what answers at the address of Google's metadata server is not it")
	}
	return t, err
}

func googleKeyToken(ctx context.Context, a *cloud.Account) (t cloud.Token, err error) {
	form, err := a.Claim(googleScope, a.TokenURI, time.Now())
	if err != nil {
		return t, err
	}
	_, err = newRest(nil).call(ctx, http.MethodPost, a.TokenURI, nil, form, &t)
	return t, err
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
