package notify

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/fairlead/fairlead/reconciler"
)

// happening is an event as far as it is worth a notice.
type happening struct {
	// Stamp tells happenings apart: the same is not told twice.
	Stamp  string
	Notice Notice
	// Opens says that a deployment is in trouble until one stands; Closes that
	// one does.
	Opens, Closes bool
}

// happened makes something of an event; ok is false when nobody needs to know.
// record is the apply that it is of, if there is one.
func happened(e reconciler.Event, record *reconciler.Record) (h happening, ok bool) {
	n := Notice{Instance: e.Instance, Message: e.Message, Commit: e.Revision, Generation: e.Generation, Request: e.Correlation, At: e.At}
	if record != nil {
		n.Subject, n.Author, n.Release, n.Changes = record.Revision.Subject, record.Revision.Author, record.Release, changesOf(record.Actions)
	}
	id := fmt.Sprintf("%s %d", e.Revision, e.Generation)
	switch e.Reason {
	case "Applied":
		n.Kind, n.Title = Applied, fmt.Sprintf("generation %d is applied", e.Generation)
		h.Closes = true
	case "Failed":
		n.Kind, n.Title = Failed, "an apply failed"
		n.Todo = fmt.Sprintf("it is tried again; fairlead history %s tells of each try, fairlead logs %s what the containers wrote", e.Instance, e.Instance)
		h.Opens = true
	case "Refused":
		n.Kind, n.Title = Failed, "commit "+short(e.Revision)+" is refused"
		n.Todo = "nothing was changed; mend it with another commit, fairlead validate says what is wrong"
		h.Opens = true
	case "RolledBack":
		n.Kind, n.Title = RolledBack, fmt.Sprintf("generation %d failed and was rolled back", e.Generation)
		n.Todo = "it is not tried again; a commit that mends or reverts it is, fairlead history " + e.Instance + " shows its last lines"
		h.Opens = true
	case "Quarantined":
		n.Kind, n.Title = Quarantined, "a revision that failed is not tried again"
		n.Todo = "commit something else, or fairlead apply --retry " + e.Instance
		h.Opens = true
	case "DriftHealed":
		n.Kind, n.Title = DriftHealed, "drift was healed"
		id = e.Message
	default:
		return happening{}, false
	}
	h.Stamp, h.Notice = e.Reason+" "+id, n
	return h, true
}

// changesOf says what an apply changed, an action a line, with images old → new.
func changesOf(actions []reconciler.Action) (list []string) {
	for _, a := range actions {
		line := fmt.Sprintf("%s %s %s", a.Verb, a.Kind, cmp.Or(a.Object, a.Name))
		if a.Reason != "" {
			line += ": " + a.Reason
		}
		for _, c := range a.Changes {
			if strings.HasPrefix(c.Field, "image") {
				line += fmt.Sprintf("; %s %s → %s", c.Field, shortDigest(c.Old), shortDigest(c.New))
			}
		}
		list = append(list, line)
	}
	return list
}

// shortDigest leaves of a digest what tells it apart.
func shortDigest(image string) string {
	before, digest, found := strings.Cut(image, "sha256:")
	if !found || len(digest) < 12 {
		return cmp.Or(image, "nothing")
	}
	return before + "sha256:" + digest[:12]
}
