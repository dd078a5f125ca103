package dns01

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/certs/cloud"
)

const (
	awsMetadata = "http://169.254.169.254"
	awsXMLNS    = "https://route53.amazonaws.com/doc/2013-04-01/"
)

// route53 speaks the API of 2013-04-01, with the keys of a user, or with the role
// of the VM. It needs ListHostedZonesByName, ListResourceRecordSets and
// ChangeResourceRecordSets.
type route53 struct {
	*rest
	base, id string
}

func openRoute53(s settings) (backend, error) {
	who := &awsWho{metadata: awsMetadata}
	who.keys = cloud.Keys{ID: s["access_key_id"], Secret: s["secret_access_key"], Session: s["session_token"]}
	if (who.keys.ID == "") != (who.keys.Secret == "") {
		return nil, errors.New("access_key_id and secret_access_key go together; without them it is the role of the VM")
	}
	who.fixed = who.keys.ID != ""
	return bySet{&route53{newRest(who.sign), "https://route53.amazonaws.com/2013-04-01", s["hosted_zone_id"]}}, nil
}

// awsWho keeps the keys, and fetches those of the VM's role when they run out.
type awsWho struct {
	metadata string
	fixed    bool

	mu    sync.Mutex
	keys  cloud.Keys
	until time.Time
}

func (w *awsWho) current(ctx context.Context) (none cloud.Keys, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fixed || time.Until(w.until) > 5*time.Minute {
		return w.keys, nil
	}
	var token, role text
	plain := newRest(nil)
	if _, err := plain.call(ctx, http.MethodPut, w.metadata+"/latest/api/token", http.Header{"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": {"60"}}, nil, &token); err != nil {
		return none, fmt.Errorf("ask the VM for a token: %w", err)
	}
	h := http.Header{"X-Aws-Ec2-Metadata-Token": {string(token)}}
	const roles = "/latest/meta-data/iam/security-credentials/"
	if _, err := plain.call(ctx, http.MethodGet, w.metadata+roles, h, nil, &role); err != nil {
		return none, fmt.Errorf("ask for the role of the VM: %w", err)
	}
	name, _, _ := strings.Cut(strings.TrimSpace(string(role)), "\n")
	var keys struct {
		AccessKeyID, SecretAccessKey, Token string
		Expiration                          time.Time
	}
	if _, err := plain.call(ctx, http.MethodGet, w.metadata+roles+url.PathEscape(name), h, nil, &keys); err != nil {
		return none, fmt.Errorf("ask for the keys of role %s: %w", name, err)
	}
	w.keys, w.until = cloud.Keys{ID: keys.AccessKeyID, Secret: keys.SecretAccessKey, Session: keys.Token}, keys.Expiration
	return w.keys, nil
}

func (w *awsWho) sign(ctx context.Context, r *http.Request, body []byte) error {
	keys, err := w.current(ctx)
	if err != nil {
		return err
	}
	keys.Sign(r.Method, r.URL, r.Header, body, "us-east-1", "route53", time.Now()) // it lives there wherever one is
	return nil
}

// zone is the ID of the public zone.
func (a *route53) zone(ctx context.Context, name string) (string, error) {
	if a.id != "" {
		return a.id, nil
	}
	var answer struct {
		Zones []struct {
			ID      string `xml:"Id"`
			Name    string `xml:"Name"`
			Private bool   `xml:"Config>PrivateZone"`
		} `xml:"HostedZones>HostedZone"`
	}
	if _, err := a.call(ctx, http.MethodGet, a.base+"/hostedzonesbyname?dnsname="+url.QueryEscape(name+"."), nil, nil, &answer); err != nil {
		return "", err
	}
	for _, z := range answer.Zones {
		if z.Name == name+"." && !z.Private {
			return strings.TrimPrefix(z.ID, "/hostedzone/"), nil
		}
	}
	return "", fmt.Errorf("the account has no public zone %s", name)
}

type awsSet struct {
	Name    string   `xml:"Name"`
	Type    string   `xml:"Type"`
	TTL     int      `xml:"TTL"`
	Records []string `xml:"ResourceRecords>ResourceRecord>Value"`
}

func (a *route53) read(ctx context.Context, t txt) (rrset, error) {
	id, err := a.zone(ctx, t.zone)
	if err != nil {
		return rrset{}, err
	}
	set := rrset{tag: a.base + "/hostedzone/" + url.PathEscape(id) + "/rrset"}
	var answer struct {
		Sets []awsSet `xml:"ResourceRecordSets>ResourceRecordSet"`
	}
	query := url.Values{"name": {t.name + "."}, "type": {"TXT"}, "maxitems": {"1"}}
	if _, err := a.call(ctx, http.MethodGet, set.tag+"?"+strings.ReplaceAll(query.Encode(), "+", "%20"), nil, nil, &answer); err != nil {
		return rrset{}, err
	}
	for _, s := range answer.Sets {
		if s.Type != "TXT" || s.Name != t.name+"." { // the list begins at the name, it does not end there
			continue
		}
		set.ttl = s.TTL
		for _, v := range s.Records {
			set.values = append(set.values, unquote(v))
		}
	}
	return set, nil
}

type awsChange struct {
	Action string `xml:"Action"`
	Set    awsSet `xml:"ResourceRecordSet"`
}

type awsBatch struct {
	XMLName xml.Name    `xml:"ChangeResourceRecordSetsRequest"`
	NS      string      `xml:"xmlns,attr"`
	Changes []awsChange `xml:"ChangeBatch>Changes>Change"`
}

// write deletes what was read and creates what is to be, in one batch: it is
// refused when something else is there.
func (a *route53) write(ctx context.Context, t txt, was, now rrset) error {
	batch := awsBatch{NS: awsXMLNS}
	for _, step := range []struct {
		action string
		set    rrset
	}{{"DELETE", was}, {"CREATE", now}} {
		if len(step.set.values) == 0 {
			continue
		}
		s := awsSet{Name: t.name + ".", Type: "TXT", TTL: step.set.ttl}
		for _, v := range step.set.values {
			s.Records = append(s.Records, quote(v))
		}
		batch.Changes = append(batch.Changes, awsChange{step.action, s})
	}
	_, err := a.call(ctx, http.MethodPost, was.tag, nil, xmlBody{batch}, nil)
	if isCode(err, http.StatusBadRequest) && says(err, "invalidchangebatch", "priorrequestnotcomplete") {
		return fmt.Errorf("%w: %w", errChanged, err)
	}
	return err
}
