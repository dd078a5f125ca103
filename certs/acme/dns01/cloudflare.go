package dns01

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// cloudflare speaks the API v4. The token needs Zone:Read and DNS:Edit.
type cloudflare struct {
	*rest
	base string
}

func openCloudflare(s settings) (backend, error) {
	return &cloudflare{newRest(bearer(s["api_token"])), "https://api.cloudflare.com/client/v4"}, nil
}

func (c *cloudflare) zone(ctx context.Context, name string) (string, error) {
	var answer struct {
		Result []struct{ ID string } `json:"result"`
	}
	if _, err := c.call(ctx, http.MethodGet, c.base+"/zones?name="+url.QueryEscape(name), nil, nil, &answer); err != nil {
		return "", err
	}
	if len(answer.Result) != 1 {
		return "", fmt.Errorf("the token sees %d zones %s, want 1", len(answer.Result), name)
	}
	return c.base + "/zones/" + url.PathEscape(answer.Result[0].ID) + "/dns_records", nil
}

type cloudflareRecord struct {
	ID      string `json:"id,omitempty"`
	Type    string `json:"type"`
	Name    string `json:"name"`
	Content string `json:"content"`
	TTL     int    `json:"ttl,omitempty"`
}

// find returns where the records of a zone are, and those equal to t. Contents
// come with and without quotes.
func (c *cloudflare) find(ctx context.Context, t txt) (records string, ids []string, err error) {
	if records, err = c.zone(ctx, t.zone); err != nil {
		return "", nil, err
	}
	var answer struct {
		Result []cloudflareRecord `json:"result"`
	}
	query := url.Values{"type": {"TXT"}, "name": {t.name}, "per_page": {"100"}}
	if _, err := c.call(ctx, http.MethodGet, records+"?"+query.Encode(), nil, nil, &answer); err != nil {
		return "", nil, err
	}
	for _, r := range answer.Result {
		if unquote(r.Content) == t.value {
			ids = append(ids, r.ID)
		}
	}
	return records, ids, nil
}

func (c *cloudflare) add(ctx context.Context, t txt) error {
	records, ids, err := c.find(ctx, t)
	if err != nil || len(ids) > 0 {
		return err
	}
	_, err = c.call(ctx, http.MethodPost, records, nil, cloudflareRecord{Type: "TXT", Name: t.name, Content: quote(t.value), TTL: t.ttl}, nil)
	return err
}

func (c *cloudflare) remove(ctx context.Context, t txt) error {
	records, ids, err := c.find(ctx, t)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := c.call(ctx, http.MethodDelete, records+"/"+url.PathEscape(id), nil, nil, nil); err != nil && !isCode(err, http.StatusNotFound) {
			return err
		}
	}
	return nil
}
