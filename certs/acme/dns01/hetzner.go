package dns01

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/libdns/libdns"
)

// hetzner speaks the Cloud API, to which zones of the old DNS Console have moved.
// The token needs read and write.
type hetzner struct {
	*rest
	base string
}

func openHetzner(s settings) (backend, error) {
	return &hetzner{newRest(bearer(s["api_token"])), "https://api.hetzner.cloud/v1"}, nil
}

type hetznerRecords struct {
	TTL     int             `json:"ttl,omitempty"`
	Records []hetznerRecord `json:"records"`
}

type hetznerRecord struct {
	Value string `json:"value"`
}

func (h *hetzner) act(ctx context.Context, action string, t txt, ttl int) error {
	address := h.base + "/zones/" + url.PathEscape(t.zone) + "/rrsets/" + url.PathEscape(libdns.RelativeName(t.name, t.zone)) +
		"/TXT/actions/" + action
	_, err := h.call(ctx, http.MethodPost, address, nil, hetznerRecords{ttl, []hetznerRecord{{quote(t.value)}}}, nil)
	return err
}

func (h *hetzner) add(ctx context.Context, t txt) error {
	err := h.act(ctx, "add_records", t, t.ttl)
	// The TTL belongs to the whole set: one that exists may have another.
	if isCode(err, http.StatusUnprocessableEntity, http.StatusConflict) && says(err, "ttl") {
		err = h.act(ctx, "add_records", t, 0)
	}
	if isCode(err, http.StatusUnprocessableEntity, http.StatusConflict) && says(err, "already exist", "uniqueness", "duplicate") {
		return nil
	}
	return err
}

func (h *hetzner) remove(ctx context.Context, t txt) error {
	err := h.act(ctx, "remove_records", t, 0)
	if isCode(err, http.StatusNotFound) {
		return nil
	}
	return err
}

func says(err error, words ...string) bool {
	var r *refused
	if !errors.As(err, &r) {
		return false
	}
	for _, w := range words {
		if strings.Contains(strings.ToLower(r.says), w) {
			return true
		}
	}
	return false
}
