package reconciler

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// connectors plans those of the target against the applied ones. Saying what is
// wanted (Attachments.Set) carries the actions out, so that they never keep a
// container waiting; what is wrong with data that is attached is mended there
// too, and only shown here.
func (p *planner) connectors() {
	if p.have.Connectors == nil {
		return
	}
	for _, name := range sortedKeys(p.t.Spec.Connectors) {
		now := p.t.Spec.Connectors[name]
		a := Action{Kind: KindConnector, Verb: Update, Name: name, Object: name}
		old, there := p.have.Connectors[name]
		if !there {
			a.Verb, a.Reason = Create, "missing"
			p.add(a)
			continue
		}
		hide := redactor(append(slices.Clone(p.have.Sensitive), p.t.Spec.Sensitive...))
		if a.Changes = diffConnectors(old, now, hide); len(a.Changes) > 0 {
			a.Reason = "changed: " + fieldList(a.Changes)
			if old.Identity != now.Identity {
				a.Reason += "; its data is made anew"
			}
			p.add(a)
		} else if a.Reason = attachedOther(p.have.Attached[name], now); a.Reason != "" {
			p.add(a)
		}
	}
	for _, name := range sortedKeys(p.have.Connectors) {
		if _, wanted := p.t.Spec.Connectors[name]; !wanted {
			p.add(Action{Kind: KindConnector, Verb: Remove, Name: name, Object: name, Reason: "no longer in the specification; its data stays"})
		}
	}
}

// attachedOther says that other data is attached than is wanted, and not only
// for as long as a run takes; empty when that is not so.
func attachedOther(a AttachmentStatus, want desired.ConnectorSpec) string {
	switch {
	case a.Attached == want.Identity || a.Phase != AttachmentDegraded && a.Phase != AttachmentFailed:
		return ""
	case a.Generation == 0:
		return "attached data of nothing yet: " + cmp.Or(a.Message, a.Reason, string(a.Phase))
	}
	return fmt.Sprintf("attached data of generation %d (%s): %s", a.Generation, desired.Revision{Commit: a.Commit}.Short(), cmp.Or(a.Message, a.Reason, string(a.Phase)))
}

// connectorSecrets are the fields that are never shown, whatever their value
// came from; headers are all of them.
var connectorSecrets = []string{"keboola.token", "bigquery.key", "files.gs.key", "files.s3.secret_key", "jira.token", "jira.pat", "jira.webhook_secret"}

// diffConnectors lists the fields that differ, in order of name.
func diffConnectors(old, now desired.ConnectorSpec, hide func(field, value string) string) (changes []Change) {
	was, is := flatten(withoutIdentity(old)), flatten(withoutIdentity(now))
	for _, field := range sortedKeys(union(was, is)) {
		before, hadIt := was[field]
		after, hasIt := is[field]
		if before == after && hadIt == hasIt {
			continue
		}
		shown := func(value string, there bool) string {
			switch {
			case !there:
				return "(none)"
			case slices.Contains(connectorSecrets, field) || strings.HasPrefix(field, "files.headers."):
				return sensitiveMark
			}
			return shownOf(field, hide(telling(field), value))
		}
		c := Change{field, shown(before, hadIt), shown(after, hasIt)}
		if field == "program.files" {
			c.Field = "program"
		}
		changes = append(changes, c)
	}
	return changes
}

// telling is the part of a field's name that may tell of a secret: a table that
// is called tokens holds none, and the columns of a key are none.
func telling(field string) string {
	switch name := field[strings.LastIndexByte(field, '.')+1:]; name {
	case "primary_key", "token_env":
		return ""
	default:
		return name
	}
}

func withoutIdentity(c desired.ConnectorSpec) desired.ConnectorSpec {
	c.Identity = ""
	return c
}

// shownOf writes a value as people write it.
func shownOf(field, value string) string {
	n, err := strconv.ParseInt(value, 10, 64)
	switch field {
	case "timeout":
		if err == nil {
			return desired.Duration(time.Duration(n)).String()
		}
	case "program.memory", "program.disk", "bigquery.max_bytes_billed":
		if err == nil {
			return desired.Size(n).String()
		}
	case "program.files":
		if contentKey.MatchString(value) {
			return "content " + value[:8]
		}
	case "postgres.url":
		if u, err := url.Parse(value); err == nil {
			return u.Redacted()
		}
	}
	return value
}
