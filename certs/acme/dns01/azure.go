package dns01

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/libdns/libdns"

	"github.com/fairlead/fairlead/certs/cloud"
)

const (
	azureLogin    = "https://login.microsoftonline.com"
	azureResource = "https://management.azure.com"
	azureMetadata = "http://169.254.169.254/metadata/identity/oauth2/token"
)

// azure speaks the Resource Manager, as an application by its secret, or as the
// managed identity of the VM. It needs the role DNS Zone Contributor.
type azure struct {
	*rest
	base string
}

// azureWho is who asks for tokens.
type azureWho struct{ tenant, client, secret, login string }

func openAzure(s settings) (backend, error) {
	w := &azureWho{s["tenant_id"], s["client_id"], s["client_secret"], azureLogin}
	if (w.secret == "") != (w.tenant == "") || (w.secret != "" && w.client == "") {
		return nil, errors.New("tenant_id, client_id and client_secret go together; without them it is the identity of the VM")
	}
	base := azureResource + "/subscriptions/" + url.PathEscape(s["subscription_id"]) + "/resourceGroups/" +
		url.PathEscape(s["resource_group_name"]) + "/providers/Microsoft.Network/dnsZones/"
	return bySet{&azure{newRest((&tokens{fetch: w.token}).sign), base}}, nil
}

func (w *azureWho) token(ctx context.Context) (t cloud.Token, err error) {
	if w.secret == "" {
		query := url.Values{"api-version": {"2018-02-01"}, "resource": {azureResource + "/"}}
		if w.client != "" {
			query.Set("client_id", w.client)
		}
		_, err = newRest(nil).call(ctx, http.MethodGet, azureMetadata+"?"+query.Encode(), http.Header{"Metadata": {"true"}}, nil, &t)
		return t, err
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {w.client}, "client_secret": {w.secret}, "scope": {azureResource + "/.default"}}
	_, err = newRest(nil).call(ctx, http.MethodPost, w.login+"/"+url.PathEscape(w.tenant)+"/oauth2/v2.0/token", nil, form, &t)
	return t, err
}

type azureSet struct {
	Properties struct {
		TTL     int            `json:"TTL"`
		Records []azureStrings `json:"TXTRecords"`
	} `json:"properties"`
}

// azureStrings is one record, whose value is cut into strings of 255 bytes.
type azureStrings struct {
	Value []string `json:"value"`
}

func (a *azure) address(t txt) string {
	return a.base + url.PathEscape(t.zone) + "/TXT/" + url.PathEscape(libdns.RelativeName(t.name, t.zone)) + "?api-version=2018-05-01"
}

func (a *azure) read(ctx context.Context, t txt) (rrset, error) {
	var got azureSet
	h, err := a.call(ctx, http.MethodGet, a.address(t), nil, nil, &got)
	if isCode(err, http.StatusNotFound) && !says(err, "parentresourcenotfound", "resourcegroupnotfound") {
		return rrset{}, nil
	}
	if err != nil {
		return rrset{}, err
	}
	set := rrset{ttl: got.Properties.TTL, tag: h.Get("Etag")}
	if set.tag == "" {
		set.tag = "*"
	}
	for _, r := range got.Properties.Records {
		set.values = append(set.values, strings.Join(r.Value, ""))
	}
	return set, nil
}

func (a *azure) write(ctx context.Context, t txt, was, now rrset) error {
	only := http.Header{"If-Match": {was.tag}}
	if was.tag == "" {
		only = http.Header{"If-None-Match": {"*"}}
	}
	var err error
	if len(now.values) == 0 {
		_, err = a.call(ctx, http.MethodDelete, a.address(t), only, nil, nil)
	} else {
		var set azureSet
		set.Properties.TTL = now.ttl
		for _, v := range now.values {
			set.Properties.Records = append(set.Properties.Records, azureStrings{[]string{v}})
		}
		_, err = a.call(ctx, http.MethodPut, a.address(t), only, set, nil)
	}
	if isCode(err, http.StatusPreconditionFailed, http.StatusConflict) {
		return fmt.Errorf("%w: %w", errChanged, err)
	}
	return err
}
