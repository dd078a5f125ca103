package pages

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// actionRoutes are what is done to instances. The roles are those of the calls
// of the API.
func (s *Site) actionRoutes() {
	s.page("POST /instances/{name}/reconcile", auth.RoleAdmin, s.reconcile)
	s.page("GET /instances/{name}/upgrade", auth.RoleAdmin, s.askUpgrade)
	s.page("POST /instances/{name}/upgrade", auth.RoleAdmin, s.upgrade)
	s.page("GET /instances/{name}/suspend", auth.RoleAdmin, s.askSuspend)
	s.page("POST /instances/{name}/suspend", auth.RoleAdmin, s.suspend)
	s.page("POST /instances/{name}/resume", auth.RoleAdmin, s.resume)
	s.page("GET /instances/{name}/rollback", auth.RoleAdmin, s.askRollback)
	s.page("POST /instances/{name}/rollback", auth.RoleAdmin, s.rollback)
}

func (s *Site) reconcile(v *visit) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	name := v.PathValue("name")
	if _, err := s.api.Reconcile(v.Context(), name, server.ReconcileRequest{Retry: form.Get("retry") != "", By: v.who()}, nil); err != nil {
		return nil, err
	}
	return v.to(instancePath(name)+"/live", "ok", "A pass was asked for. What it does is shown here."), nil
}

func (s *Site) askUpgrade(v *visit) (reply, error) {
	head, err := s.headOf(v, "overview")
	if err != nil {
		return nil, err
	}
	if !head.CanUpgrade {
		return nil, &server.Error{Status: http.StatusConflict, Detail: "upgrade " + head.Name + ": no release waits for its time",
			Hint: "what is newest runs already, or it failed or was taken back; the overview says which"}
	}
	a := asking{instanceHead: head, Text: head.Release.Deferred.Message + ". Taken now, it passes over the window, the age and the question whether the application is busy. It is checked as ever, and rolled back if it fails."}
	a.Confirm = confirmation{Action: instancePath(head.Name) + "/upgrade", Back: instancePath(head.Name), Button: "Upgrade now"}
	view := head.view("ask", "Upgrade "+head.Name+" now", a)
	view.Crumbs, view.Live = head.subCrumbs(), ""
	return view, nil
}

func (s *Site) upgrade(v *visit) (reply, error) {
	name := v.PathValue("name")
	if _, err := s.api.Reconcile(v.Context(), name, server.ReconcileRequest{Now: true, By: v.who()}, nil); err != nil {
		return nil, err
	}
	return v.to(instancePath(name)+"/live", "ok", "The release is taken now."), nil
}

// suspending is the form that suspends an instance.
type suspending struct {
	instanceHead
	Reason, Until field
}

// untilForm is what a browser sends of a date and a time, which is UTC here.
const untilForm = "2006-01-02T15:04"

func (s *Site) askSuspend(v *visit) (reply, error) { return s.suspendForm(v, "", "", nil) }

func (s *Site) suspendForm(v *visit, reason, until string, problems map[string]string) (reply, error) {
	head, err := s.headOf(v, "overview")
	if err != nil {
		return nil, err
	}
	p := suspending{instanceHead: head,
		Reason: field{Type: "text", Name: "reason", Label: "Reason", Required: true, Value: reason, Error: problems["reason"], Placeholder: "stocktaking",
			Hint: "Everybody sees it, and whoever is woken at night."},
		Until: field{Type: "datetime-local", Name: "until", Label: "Until", Value: until, Error: problems["until"],
			Hint: "In UTC; it is " + time.Now().UTC().Format("15:04") + " now. Empty: until somebody resumes it."}}
	view := head.view("suspend", "Suspend "+head.Name, p)
	view.Crumbs, view.Live = head.subCrumbs(), ""
	if len(problems) > 0 {
		view.Status = http.StatusUnprocessableEntity
	}
	return view, nil
}

func (s *Site) suspend(v *visit) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	reason, text := strings.TrimSpace(form.Get("reason")), form.Get("until")
	problems, until := map[string]string{}, time.Time{}
	if reason == "" {
		problems["reason"] = "Say why: nothing is healed meanwhile, and somebody will wonder."
	}
	if text != "" {
		if until, err = time.Parse(untilForm, text); err != nil {
			problems["until"] = "This is not a date and a time."
		} else if !until.After(time.Now()) {
			problems["until"] = "This is in the past (UTC)."
		}
	}
	if len(problems) > 0 {
		return s.suspendForm(v, reason, text, problems)
	}
	name := v.PathValue("name")
	if _, err := s.api.Suspend(v.Context(), name, server.SuspendRequest{Reason: reason, Until: until, By: v.who()}); err != nil {
		return nil, err
	}
	return v.to(instancePath(name), "ok", name+" is suspended. Nothing is changed and nothing is healed until it is resumed."), nil
}

func (s *Site) resume(v *visit) (reply, error) {
	name := v.PathValue("name")
	if _, err := s.api.Resume(v.Context(), name, v.who()); err != nil {
		return nil, err
	}
	return v.to(instancePath(name), "ok", name+" is resumed."), nil
}

// askRollback shows what a rollback changes, and asks how it is to be made.
func (s *Site) askRollback(v *visit) (reply, error) {
	head, err := s.headOf(v, "history")
	if err != nil {
		return nil, err
	}
	n, err := generationOf(v.URL.Query().Get("generation"))
	if err != nil {
		return nil, err
	}
	list, err := s.api.Generations(v.Context(), head.Name)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(g reconciler.Generation) bool { return g.Number == n })
	if i < 0 || !list[i].Good {
		return nil, &server.Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("roll back %s to generation %d: there is none that passed its checks", head.Name, n),
			Hint: "the history lists those that are kept"}
	}
	a := asking{instanceHead: head, Target: &list[i]}
	for _, g := range list {
		if g.Number == head.Generation {
			a.Images = imageChanges(g, list[i])
		}
	}
	report, err := s.api.Plan(v.Context(), head.Name, list[i].Revision.Commit)
	if a.Failed = err; err == nil {
		a.Report, a.Line = &report, reconciler.Summary(report.Actions)
	}
	a.Confirm = confirmation{Action: instancePath(head.Name) + "/rollback", Back: instancePath(head.Name) + "/history", Danger: true,
		Button: fmt.Sprintf("Roll back to generation %d", n), Hidden: []option{{strconv.Itoa(n), "generation"}}}
	view := head.view("rollback", fmt.Sprintf("Roll back %s to generation %d", head.Name, n), a)
	view.Crumbs, view.Live = head.subCrumbs(crumb{instancePath(head.Name) + "/history", "History"}), ""
	return view, nil
}

// patched is what is left to do where this daemon may not push.
type patched struct {
	instanceHead
	Generation int
	Patch      string
}

func (s *Site) rollback(v *visit) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	n, err := generationOf(form.Get("generation"))
	if err != nil {
		return nil, err
	}
	head, err := s.headOf(v, "history")
	if err != nil {
		return nil, err
	}
	done, err := s.api.Rollback(v.Context(), head.Name, server.RollbackRequest{Generation: n, Commit: form.Get("how") != "hold", By: v.who()})
	if err != nil {
		return nil, err
	}
	switch number := done.Generation.Number; {
	case done.Patch != "":
		view := head.view("patched", "Roll back "+head.Name, patched{head, number, done.Patch})
		view.Crumbs, view.Live = head.subCrumbs(crumb{instancePath(head.Name) + "/history", "History"}), ""
		return view, nil
	case done.Commit != "":
		return v.to(instancePath(head.Name)+"/live", "ok", fmt.Sprintf("Commit %s brings generation %d back. It is applied now.", short(done.Commit), number)), nil
	default:
		return v.to(instancePath(head.Name)+"/live", "ok", fmt.Sprintf("Generation %d is held until a newer revision. It is applied now.", number)), nil
	}
}
