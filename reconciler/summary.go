package reconciler

import (
	"fmt"
	"strings"
	"time"
)

// Summary is the last line of a plan: how many objects it creates, replaces,
// removes and updates.
func Summary(actions []Action) string {
	n := map[Verb]int{}
	for _, a := range actions {
		n[a.Verb]++
	}
	if len(actions) == 0 {
		return "Plan: nothing to do."
	}
	line := fmt.Sprintf("Plan: %d to create, %d to replace, %d to remove", n[Create], n[Replace], n[Remove])
	if n[Update] > 0 {
		line += fmt.Sprintf(", %d to update", n[Update])
	}
	return line + "."
}

// Line says what users notice of a replacement.
func (s SwitchReport) Line() string {
	hosts := strings.Join(s.Hosts, ", ")
	if !s.Held {
		return fmt.Sprintf("nobody waits while %s is replaced: both run (%s)", s.Service, hosts)
	}
	line := fmt.Sprintf("requests to %s are held while %s is replaced (at most %s", hosts, s.Service, s.HoldFor)
	if s.Last > 0 {
		line += "; last time " + Took(s.Last)
	}
	return line + ")"
}

// Line says what users noticed of a replacement.
func (g Gap) Line() string {
	line := fmt.Sprintf("%s: nobody to lead requests to for %s; %s held", g.Service, Took(g.For), Count(g.Held, "request"))
	if g.Held > 0 {
		line += ", the longest for " + Took(g.Longest)
	}
	if g.Refused > 0 {
		return line + fmt.Sprintf("; %d refused", g.Refused)
	}
	return line + "; none refused"
}

// Took is a duration with the precision that people care for.
func Took(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// Count is a number of things, whose plural ends in s.
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
