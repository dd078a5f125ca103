package jira

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxWebhook is the most bytes of a webhook that a receiver need read.
const MaxWebhook = 25 << 20

// ErrSignature is a webhook whose signature is missing or is not that of the
// secret: it is answered with 401, and nothing in it is to be believed.
var ErrSignature = errors.New("verify webhook: the signature is missing or wrong")

// Event is what a webhook says happened.
type Event struct {
	Name    string   // jira:issue_updated
	Issues  []string // keys, or ids where the event has no key, of what is to be fetched anew
	Deleted bool     // the issues are gone
}

// Webhook checks the X-Hub-Signature of a body, as Jira makes it with the secret of
// the webhook (sha256=…, HMAC of the raw body), and says which issues it is about.
// An event that is about no issue has none.
func Webhook(secret []byte, signature string, body []byte) (Event, error) {
	if len(secret) == 0 {
		return Event{}, errors.New("verify webhook: no secret is set")
	}
	method, text, _ := strings.Cut(strings.TrimSpace(signature), "=")
	given, err := hex.DecodeString(text)
	if err != nil || !strings.EqualFold(method, "sha256") || len(body) > MaxWebhook {
		return Event{}, ErrSignature
	}
	h := hmac.New(sha256.New, secret)
	h.Write(body)
	if !hmac.Equal(h.Sum(nil), given) {
		return Event{}, ErrSignature
	}
	return parseEvent(body)
}

// parseEvent reads the forms that events of issues, comments, worklogs and links have.
func parseEvent(body []byte) (Event, error) {
	type id = json.Number
	var form struct {
		Name  string `json:"webhookEvent"`
		Issue struct {
			ID  id     `json:"id"`
			Key string `json:"key"`
		} `json:"issue"`
		Worklog struct {
			IssueID id `json:"issueId"`
		} `json:"worklog"`
		Link struct {
			Source id `json:"sourceIssueId"`
			Target id `json:"destinationIssueId"`
		} `json:"issueLink"`
	}
	if err := json.Unmarshal(body, &form); err != nil {
		return Event{}, fmt.Errorf("read webhook: %w", err)
	}
	e := Event{Name: form.Name, Deleted: form.Name == "jira:issue_deleted"}
	about := form.Issue.Key
	if about == "" {
		about = string(form.Issue.ID)
	}
	for _, issue := range []string{about, string(form.Worklog.IssueID), string(form.Link.Source), string(form.Link.Target)} {
		if validIssue(issue) && !slices.Contains(e.Issues, issue) {
			e.Issues = append(e.Issues, issue)
		}
	}
	return e, nil
}

// validIssue reports whether a text is a key or an id: it may stand in a path.
func validIssue(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range s {
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
