package notify

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// Kind is one of desired.NoticeKinds.
type Kind string

// The kinds of notices.
const (
	Applied     Kind = "applied"
	Failed      Kind = "failed"
	RolledBack  Kind = "rolled-back"
	Quarantined Kind = "quarantined"
	DriftHealed Kind = "drift-healed"
	Deferred    Kind = "deferred"
	Degraded    Kind = "degraded"
	Certificate Kind = "certificate"
	Attachment  Kind = "attachment"
	Source      Kind = "source"
	Recovered   Kind = "recovered"
	kindTest    Kind = "test"   // of a channel, asked for by a person
	kindDigest  Kind = "digest" // of several notices
)

// Notice is what is told, as a webhook gets it. It holds nothing secret.
type Notice struct {
	Kind     Kind   `json:"kind"`
	Instance string `json:"instance,omitempty"` // empty: the host as a whole
	Host     string `json:"host"`
	Title    string `json:"title"`
	Message  string `json:"message,omitempty"`
	Todo     string `json:"todo,omitempty"`
	// Of is the kind of what is over, of a recovery; Reminder says that it was
	// told before.
	Of         Kind      `json:"of,omitempty"`
	Reminder   bool      `json:"reminder,omitempty"`
	Commit     string    `json:"commit,omitempty"`
	Subject    string    `json:"subject,omitempty"`
	Author     string    `json:"author,omitempty"`
	Generation int       `json:"generation,omitempty"`
	Release    string    `json:"release,omitempty"`
	Changes    []string  `json:"changes,omitempty"`
	Link       string    `json:"link,omitempty"`
	Request    string    `json:"correlation_id,omitempty"` // of the request that led to it
	Since      time.Time `json:"since,omitzero"`
	At         time.Time `json:"at"`
	// Notices are those that a digest stands for.
	Notices []Notice `json:"notices,omitempty"`
}

// The bounds of a notice's parts. What people write into commits and what
// programs write into errors may be of any length.
const (
	maxTitle   = 200
	maxMessage = 2000
	maxChanges = 12
)

// bounded cuts what is too long, and takes out what is not text.
func (n Notice) bounded() Notice {
	n.Title, n.Subject, n.Author = oneLine(n.Title, maxTitle), oneLine(n.Subject, maxTitle), oneLine(n.Author, maxTitle)
	n.Message, n.Todo = plain(n.Message, maxMessage), plain(n.Todo, maxMessage)
	n.Changes = slices.Clone(n.Changes) // others have the same list
	if len(n.Changes) > maxChanges {
		n.Changes = append(n.Changes[:maxChanges], "…")
	}
	for i := range n.Changes {
		n.Changes[i] = oneLine(n.Changes[i], maxTitle)
	}
	return n
}

// plain takes out control characters, which could tell a terminal something.
func plain(s string, most int) string {
	s = strings.Map(func(c rune) rune {
		if c < ' ' && c != '\n' && c != '\t' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, ""))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most-len("…")], "") + "…"
	}
	return strings.TrimSpace(s)
}

func oneLine(s string, most int) string {
	return plain(strings.Join(strings.Fields(s), " "), most)
}

// minor says that a notice is the first to be dropped where there is no room:
// nobody has to do anything about it.
func (n Notice) minor() bool {
	return n.Kind == Applied || n.Kind == DriftHealed || n.Reminder
}

// data is the notice as a template sees it.
func (n Notice) data() desired.Notice {
	return desired.Notice{Kind: string(n.Kind), Instance: n.Instance, Host: n.Host, Title: n.Title, Message: n.Message, Todo: n.Todo,
		Commit: short(n.Commit), Subject: n.Subject, Author: n.Author, Release: n.Release, Changes: n.Changes, Link: n.Link, Reminder: n.Reminder,
		Of: string(n.Of), Since: n.Since, At: n.At}
}

func short(commit string) string {
	if len(commit) > 8 {
		return commit[:8]
	}
	return commit
}

// who names what a notice is about.
func (n Notice) who() string { return cmp.Or(n.Instance, "host "+n.Host) }
