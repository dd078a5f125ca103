package notify

import (
	"fmt"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// text is a notice in words: what a channel's template makes of it, or what is
// made here.
func text(n Notice, template string) string {
	if template != "" && n.Kind != kindDigest {
		t, err := desired.ParseNoticeTemplate(template)
		if err == nil {
			if s, err := t.Execute(n.data()); err == nil && strings.TrimSpace(s) != "" {
				return plain(s, 2*maxMessage)
			}
		} // it was checked when it was read: to be told badly is better than not at all
	}
	if n.Kind == kindDigest {
		return digestText(n)
	}
	return ownText(n)
}

func ownText(n Notice) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if n.Message != "" && n.Message != n.Title {
		line("%s", n.Message)
	}
	if n.Commit != "" {
		line("%s", strings.TrimRight("Commit "+short(n.Commit)+" "+quoted(n.Subject)+by(n.Author), " "))
	}
	if n.Release != "" {
		line("Release %s", n.Release)
	}
	for _, c := range n.Changes {
		line("- %s", c)
	}
	if !n.Since.IsZero() && n.At.Sub(n.Since) > time.Minute {
		line("Since %s (%s)", n.Since.UTC().Format("2006-01-02 15:04 UTC"), span(n.At.Sub(n.Since)))
	}
	if n.Todo != "" {
		line("What to do: %s", n.Todo)
	}
	if n.Link != "" {
		line("%s", n.Link)
	}
	return strings.TrimRight(b.String(), "\n")
}

// digestText has a line for each of several notices.
func digestText(n Notice) string {
	const most = 25
	var b strings.Builder
	for i, one := range n.Notices {
		if i == most {
			fmt.Fprintf(&b, "and %d more\n", len(n.Notices)-most)
			break
		}
		fmt.Fprintf(&b, "- %s\n", one.Title)
	}
	if n.Link != "" {
		b.WriteString(n.Link)
	}
	return strings.TrimRight(b.String(), "\n")
}

// digestOf makes one notice of several.
func digestOf(list []Notice) Notice {
	seen := map[string]bool{}
	for _, n := range list {
		seen[n.who()] = true
	}
	last := list[len(list)-1]
	title := fmt.Sprintf("%s: %d notices", last.Host, len(list))
	if len(seen) > 1 {
		title += fmt.Sprintf(" of %d instances", len(seen))
	}
	return Notice{Kind: kindDigest, Host: last.Host, Title: title, At: last.At, Notices: list}
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return "“" + s + "”"
}

func by(author string) string {
	if author == "" {
		return ""
	}
	return " by " + author
}

// span writes a length of time as people say it.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d/time.Hour))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d/time.Minute))
	}
	return fmt.Sprintf("%d seconds", int(d/time.Second))
}
