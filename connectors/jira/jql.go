package jira

import (
	"errors"
	"regexp"
	"strings"
	"time"
	_ "time/tzdata" // a bare host has no zones, and a wrong one loses changes
)

var orderBy = regexp.MustCompile(`(?i)\border\s+by\b`)

// checkJQL makes sure that a condition stays within the brackets that it is put
// into, and has no order of its own.
func checkJQL(text string) error {
	bare, depth := strings.Builder{}, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"', '\'':
			end, ok := quotedEnd(text, i)
			if !ok {
				return errors.New("a quote is not closed")
			}
			i = end
			bare.WriteString(" _ ")
			continue
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				return errors.New("a bracket is closed that was not opened")
			}
		case '\\':
			return errors.New("a backslash outside quotes")
		}
		bare.WriteByte(text[i])
	}
	switch {
	case depth > 0:
		return errors.New("a bracket is not closed")
	case orderBy.MatchString(bare.String()):
		return errors.New("must have no ORDER BY: the order is what paging relies on")
	}
	return nil
}

// quotedEnd finds the quote that closes the one at start; a backslash escapes.
func quotedEnd(text string, start int) (int, bool) {
	for i := start + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case text[start]:
			return i, true
		}
	}
	return 0, false
}

// search joins conditions and gives them an order that new issues do not disturb.
func search(conditions ...string) string {
	var parts []string
	for _, c := range conditions {
		if c = strings.TrimSpace(c); c != "" {
			parts = append(parts, "("+c+")")
		}
	}
	return strings.Join(parts, " AND ") + " ORDER BY created ASC, key ASC"
}

// everything is a condition that holds for each issue: Cloud refuses a search
// without any.
const everything = `created >= "1970-01-02 00:00"`

// zoneNamed is nil for what is no zone that can be relied on.
func zoneNamed(name string) *time.Location {
	if name == "" || name == "Local" {
		return nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return zone
}

// wall writes a time as JQL reads it: minutes, in the user's zone, and never later
// than t. Where a clock that is put back shows the same minutes twice, it goes back
// to before both. Of an unknown zone the latest one is taken.
func (at *site) wall(t time.Time) string {
	const form = "2006-01-02 15:04"
	if at.zone == nil {
		return t.UTC().Add(-12 * time.Hour).Format(form)
	}
	local := t.In(at.zone)
	for range 3 {
		text := local.Format(form)
		if local.Add(time.Hour).Format(form) != text && local.Add(-time.Hour).Format(form) != text &&
			local.Add(30*time.Minute).Format(form) != text && local.Add(-30*time.Minute).Format(form) != text {
			return text
		}
		local = local.Add(-time.Hour)
	}
	return local.Add(-2 * time.Hour).Format(form)
}

// since is the condition for what was updated at t or later.
func (at *site) since(t time.Time) string { return `updated >= "` + at.wall(t) + `"` }

// within is the condition for what was created in a month of UTC, with a day more
// at each end, for the user's zone; what is too much is left out by its own time.
func (at *site) within(month string) (string, error) {
	start, err := time.Parse("2006-01", month)
	if err != nil {
		return "", err
	}
	const form = "2006-01-02 15:04"
	from, to := start.AddDate(0, 0, -1), start.AddDate(0, 1, 1)
	return `created >= "` + from.Format(form) + `" AND created < "` + to.Format(form) + `"`, nil
}
