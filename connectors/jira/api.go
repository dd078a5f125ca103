package jira

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
)

const (
	maxAnswer = 128 << 20 // a page of issues with long texts
	patience  = 30 * time.Minute
)

// site is a Jira as it answered when it was entered.
type site struct {
	cloud  bool
	api    string         // rest/api/3 of Cloud, rest/api/2 else
	zone   *time.Location // of the user, in which JQL reads times; nil when unknown
	now    time.Time      // by its clock, before anything was read
	fields []field
	notes  []string
}

// field is a field of issues as the site names it.
type field struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Custom bool   `json:"custom"`
	Schema struct {
		Type   string `json:"type"`
		Items  string `json:"items"`
		Custom string `json:"custom"`
	} `json:"schema"`
}

var errCredentials = errors.New("the credentials were refused")

// ask makes a question of a path; a body makes it a POST of JSON.
func (s *Source) ask(path string, query url.Values, body any) func(context.Context) (*http.Request, error) {
	return func(ctx context.Context) (*http.Request, error) {
		method, data := http.MethodGet, []byte(nil)
		if body != nil {
			var err error
			if data, err = json.Marshal(body); err != nil {
				return nil, fmt.Errorf("encode request: %w", err)
			}
			method = http.MethodPost
		}
		u := s.base.JoinPath(path)
		u.RawQuery = query.Encode()
		req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", s.auth)
		req.Header.Set("Accept", "application/json")
		req.Header.Set("User-Agent", "fairlead")
		if body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		return req, nil
	}
}

// do asks and decodes. Jira may answer as to a stranger when it did not take the
// credentials, with 200 and less than there is: its header tells.
func (s *Source) do(ctx context.Context, path string, query url.Values, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return explain(s.http.Do(ctx, s.ask(path, query, body), func(answer *http.Response) error {
		if reason := answer.Header.Get("X-Seraph-Loginreason"); strings.Contains(reason, "FAILED") || strings.Contains(reason, "DENIED") {
			return rest.Permanent(errCredentials)
		}
		return decode(answer, out)
	}))
}

// decode keeps numbers as they were written.
func decode(answer *http.Response, out any) error {
	var raw json.RawMessage
	if err := rest.JSON(&raw, maxAnswer)(answer); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(out); err != nil && !errors.Is(err, io.EOF) {
		return rest.Permanent(fmt.Errorf("decode answer: %w", err))
	}
	return nil
}

// explain adds to an error of the API what can be done about it.
func explain(err error) error {
	switch code := rest.Code(err); {
	case errors.Is(err, errCredentials):
		return connectors.WithHint(err, credentialsHint)
	case code == http.StatusUnauthorized:
		return connectors.WithHint(fmt.Errorf("%w: %w", errCredentials, err), credentialsHint)
	case code == http.StatusForbidden:
		return connectors.WithHint(err, "The user may not do this. After several refused passwords Jira also wants a sign-in with CAPTCHA in the browser")
	case code == http.StatusBadRequest:
		return connectors.WithHint(err, "Try jql and where in Jira's own search, as the same user")
	}
	return err
}

// enter finds out what kind of Jira answers, as whom, and what fields it has.
func (s *Source) enter(ctx context.Context, now time.Time) (*site, error) {
	var info struct {
		DeploymentType string `json:"deploymentType"`
		ServerTime     string `json:"serverTime"`
	}
	if err := s.do(ctx, "rest/api/2/serverInfo", nil, nil, &info); err != nil {
		return nil, fmt.Errorf("find out the kind of Jira: %w", err)
	}
	at := &site{cloud: info.DeploymentType == "Cloud", api: "rest/api/2", now: now}
	if at.cloud {
		at.api = "rest/api/3"
	}
	if t, err := parseTime(info.ServerTime); err == nil {
		at.now = t
	}
	var me struct {
		AccountID string `json:"accountId"`
		Name      string `json:"name"`
		TimeZone  string `json:"timeZone"`
	}
	if err := s.do(ctx, at.api+"/myself", nil, nil, &me); err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	if me.AccountID == "" && me.Name == "" {
		return nil, connectors.WithHint(fmt.Errorf("sign in: %w: Jira does not say who it is", errCredentials), credentialsHint)
	}
	if at.zone = zoneNamed(me.TimeZone); at.zone == nil {
		at.notes = append(at.notes, fmt.Sprintf("the user's time zone %q is unknown: up to a day more than needed is asked for", rest.Short(me.TimeZone)))
	}
	if err := s.do(ctx, at.api+"/field", nil, nil, &at.fields); err != nil {
		return nil, fmt.Errorf("list fields: %w", err)
	}
	return at, nil
}

// parseTime reads the times of Jira: 2026-11-20T13:45:10.123+0100.
func parseTime(text string) (time.Time, error) {
	for _, form := range []string{"2006-01-02T15:04:05.999-0700", "2006-01-02T15:04:05-0700", time.RFC3339Nano} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("not a time of Jira")
}
