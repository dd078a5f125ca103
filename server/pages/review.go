package pages

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// reviewData is what the step before the commit shows.
type reviewData struct {
	wizard
	Preview *server.Preview
	Failed  *server.Error
	Tables  []connectors.Discovered // some of them
	Count   int
	Secrets []string // names
	Busy    bool
}

// reviewTables is how many tables are named; all are in the file below.
const reviewTables = 12

func (s *Site) reviewStep(v *visit, d draft) (reply, error) {
	if step, ok := d.ready("review"); !ok {
		return redirect{d.path(step)}, nil
	}
	chosen := d.chosen()
	data := reviewData{wizard: wizardOf(d, "review"), Count: len(chosen), Tables: chosen[:min(len(chosen), reviewTables)], Busy: s.drafts.isClaimed(d.ID)}
	c, err := connectorDraft(d, false)
	if err == nil {
		for name := range c.Secrets {
			data.Secrets = append(data.Secrets, name)
		}
		sort.Strings(data.Secrets)
		var preview server.Preview
		if preview, err = s.api.PreviewConnector(v.Context(), d.Instance, c, chosen); err == nil {
			data.Preview = &preview
		}
	}
	if err != nil {
		data.Failed = d.hidden(err)
	}
	w := s.wizardView(d, "addreview", "Look it over", data, nil)
	if d.Problem != nil || data.Failed != nil {
		w.Status = http.StatusUnprocessableEntity
	}
	return w, nil
}

// hidden is an error as it may be shown: without the secrets of the draft.
func (d draft) hidden(err error) *server.Error {
	e := *server.AsError(err)
	e.Detail, e.Hint = d.hide(e.Detail), d.hide(e.Hint)
	for i, p := range e.Problems {
		p.Text, p.Hint = d.hide(p.Text), d.hide(p.Hint)
		e.Problems[i] = p
	}
	return &e
}

// commitLimit bounds a commit with its push. It goes on when the reader leaves:
// half of it would be the worse.
const commitLimit = 50 * time.Second

func (s *Site) takeReview(v *visit, d draft) (reply, error) {
	if step, ok := d.ready("review"); !ok {
		return redirect{d.path(step)}, nil
	}
	if !s.drafts.claim(d.ID) { // a second click, or another tab
		return v.to(d.path("review"), "ok", "It is being committed already. Load the page again in a moment."), nil
	}
	defer s.drafts.release(d.ID)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.Context()), commitLimit)
	defer cancel()
	c, err := connectorDraft(d, false)
	var answer server.ChangeAnswer
	chosen := d.chosen()
	if err == nil {
		answer, err = s.api.CommitConnector(ctx, d.Instance, c, chosen)
	}
	if err != nil {
		d.Problem = d.hidden(err)
		s.drafts.put(d)
		return redirect{d.path("review") + "#problem"}, nil
	}
	made := committed{ChangeAnswer: answer, At: time.Now()}
	for _, t := range chosen {
		made.Tables = append(made.Tables, t.Name)
	}
	d = s.drafts.finish(d, made)
	if d.Setup {
		s.settled(v)
	}
	return redirect{d.path("done")}, nil
}

// doneData is what the last page shows: the commit, and the first sync.
type doneData struct {
	wizard
	Done     committed
	Patch    []string // lines of the start of the patch
	PatchCut bool
	Card     *sourceCard // nil: the loop has not taken the commit yet
	Run      *runRow
	Trouble  string // why the loop cannot take the commit
	Stage    string // patch, taking, waiting, syncing, live, trouble
	Query    string // path of a query that works
	Waited   time.Duration
	Curl     string
}

const patchShown = 400 // lines

func (s *Site) doneStep(v *visit, d draft) (reply, error) {
	if step, ok := d.ready("done"); !ok {
		return redirect{d.path(step)}, nil
	}
	data := doneData{wizard: wizardOf(d, "done"), Done: *d.Done, Waited: time.Since(d.Done.At), Curl: curlOf(v, d)}
	if d.Done.Patch != "" {
		data.Stage = "patch"
		data.Patch = strings.Split(strings.TrimRight(d.Done.Patch, "\n"), "\n")
		if data.PatchCut = len(data.Patch) > patchShown; data.PatchCut {
			data.Patch = data.Patch[:patchShown]
		}
	} else {
		s.followSync(v, d, &data)
	}
	w := s.wizardView(d, "adddone", "First sync", data, nil)
	if data.Stage == "live" {
		w.Title = "Your data is here"
	}
	if w.Live = everything; data.Stage != "live" && data.Stage != "patch" {
		w.Reload = 3
	}
	return w, nil
}

// unchanged is how long a source that stands as it is wanted may be without a run
// until it counts as one that needs none: the commit changed nothing of it.
const unchanged = 15 * time.Second

// followSync says how far the loop and the connector are.
func (s *Site) followSync(v *visit, d draft, data *doneData) {
	data.Stage = "taking"
	if data.Trouble = s.troubleOf(v, d); data.Trouble != "" {
		data.Stage = "trouble"
	}
	a, err := s.api.Connector(v.Context(), d.Instance, d.Name)
	if err != nil { // it is not wanted yet
		return
	}
	card := cardOf(d.Instance, a)
	data.Card = &card
	if rows, err := s.runsOf(v, d.Instance, d.Name, 1); err == nil && len(rows) > 0 && (d.Done.Commit != "" && rows[0].Commit == d.Done.Commit || rows[0].Started.After(d.Done.At)) {
		data.Run = &rows[0]
	}
	attached := a.Phase == reconciler.AttachmentLive || a.Phase == reconciler.AttachmentDegraded
	switch {
	case a.Running || data.Run != nil && data.Run.Outcome == "":
		data.Stage, data.Trouble = "syncing", ""
	case data.Run != nil && data.Run.Outcome == connectors.Failed, a.Phase == reconciler.AttachmentFailed:
		data.Stage, data.Trouble = "trouble", ""
	case attached && (data.Run != nil || a.Identity == a.Attached && data.Waited > unchanged):
		data.Stage, data.Trouble = "live", ""
	case data.Stage != "trouble":
		data.Stage = "waiting"
	}
	if len(d.Done.Tables) > 0 {
		data.Query = queryPath(d.Instance, "SELECT *\nFROM "+quoted(d.Name)+"."+quoted(d.Done.Tables[0])+"\nLIMIT 100")
	}
}

// troubleOf is what keeps the loop from taking the newest commit.
func (s *Site) troubleOf(v *visit, d draft) string {
	for _, status := range s.api.Statuses() {
		if status.Name == d.Instance && (status.Suspended != nil || len(status.Problems) > 0) {
			return headline(status)
		}
	}
	source, err := s.api.Source(v.Context())
	switch {
	case err != nil:
		return d.hidden(err).Detail
	case source.Problem != "":
		return source.Problem
	}
	return source.Error
}

// curlOf is the same by calls of the API, without anything secret.
func curlOf(v *visit, d draft) string {
	return strings.NewReplacer("{BASE}", v.origin(), "{CONFIGURE}", configureBody(d), "{INSTANCE}", d.Instance, "{SOURCE}", d.Name, "{TABLES}", tablesBody(d)).Replace(strings.TrimSpace(`
TOKEN=$(curl -s {BASE}/auth/token -H 'Content-Type: application/json' \
  -d '{"email":"you@example.com","password":"…"}' | jq -r .access_token)
curl -s {BASE}/api/admin/configure -H "Authorization: Bearer $TOKEN" \
  -H 'Content-Type: application/json' -d '{CONFIGURE}'
curl -s -X POST "{BASE}/api/admin/discover-and-register?instance={INSTANCE}&source={SOURCE}" \
  -H "Authorization: Bearer $TOKEN"{TABLES}
curl -s -X POST "{BASE}/api/sync/trigger?instance={INSTANCE}&source={SOURCE}" -H "Authorization: Bearer $TOKEN"`))
}

// configureBody is what POST /api/admin/configure takes for a draft, as a word of
// the shell. In the place of secrets there is a word for what belongs there.
func configureBody(d draft) string {
	for _, f := range fieldsOf(d.Kind) {
		if f.Secret && d.Given[f.Name] {
			d.Values[f.Name] = "the " + strings.ToLower(f.Label)
		}
	}
	c, err := connectorDraft(d, false)
	if err != nil {
		return "{}"
	}
	body := fmt.Sprintf(`{"instance":%q,"connector":{"name":%q,%s`, d.Instance, d.Name, strings.TrimPrefix(string(c.Fields), "{")) + "}"
	if secrets, err := json.Marshal(c.Secrets); err == nil && len(c.Secrets) > 0 {
		body = strings.TrimSuffix(body, "}") + `,"secrets":` + string(secrets) + "}"
	}
	return strings.ReplaceAll(body, "'", `'\''`)
}

// curlTables is how many tables a call names; more are simply all.
const curlTables = 20

func tablesBody(d draft) string {
	if d.Done == nil || len(d.Done.Tables) > curlTables {
		return ""
	}
	body, err := json.Marshal(map[string][]string{"tables": d.Done.Tables})
	if err != nil {
		return ""
	}
	return " \\\n  -H 'Content-Type: application/json' -d '" + string(body) + "'"
}

// origin is how the reader calls this site.
func (v *visit) origin() string {
	if v.site.secure(v.Request) {
		return "https://" + v.Host
	}
	return "http://" + v.Host
}
