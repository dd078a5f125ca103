package pages

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// maxHistory is how many applies are listed; there are no more.
const maxHistory, historyPage = 500, 25

// chronicle is the timeline of an instance.
type chronicle struct {
	instanceHead
	Entries []entry
	Kept    []reconciler.Generation // newest first
	Pager   pager
}

// entry is one apply on the timeline.
type entry struct {
	reconciler.Record
	Badge badge
	Can   bool // it can be rolled back to
	Now   bool // it is what runs
}

func (s *Site) history(v *visit) (reply, error) {
	head, err := s.headOf(v, "history")
	if err != nil {
		return nil, err
	}
	part := partOfList(v, historyPage, maxHistory)
	records, err := s.api.History(v.Context(), head.Name, part.limit)
	if err != nil {
		return nil, err
	}
	generations, err := s.api.Generations(v.Context(), head.Name)
	if err != nil {
		return nil, err
	}
	slices.Reverse(generations)
	c := chronicle{instanceHead: head, Kept: generations}
	from, to := 0, 0
	from, to, c.Pager = part.of(len(records))
	good := map[int]bool{}
	for _, g := range generations {
		good[g.Number] = g.Good && g.Number != head.Generation
	}
	shown := map[int]bool{} // the button stands at the newest apply of a generation
	for _, r := range records[from:to] {
		e := entry{Record: r, Badge: outcomeBadge(r.Outcome), Can: good[r.Generation] && r.Outcome == reconciler.Applied && !shown[r.Generation]}
		e.Now = r.Generation == head.Generation && r.Outcome == reconciler.Applied && !shown[r.Generation]
		shown[r.Generation] = shown[r.Generation] || e.Can || e.Now
		c.Entries = append(c.Entries, e)
	}
	return head.view("history", head.Name+": history", c), nil
}

// listPart is the part of a list, the newest first, that an address asks for by
// page=, from 1 on. Only as much is read as is needed to show it, and to know
// whether there is more.
type listPart struct {
	v           *visit
	page, each  int
	limit, most int
}

func partOfList(v *visit, each, most int) listPart {
	page, _ := strconv.Atoi(v.URL.Query().Get("page"))
	page = min(max(page, 1), (most+each-1)/each)
	return listPart{v: v, page: page, each: each, limit: min(page*each+1, most), most: most}
}

// of says what to show of what was read.
func (l listPart) of(read int) (from, to int, p pager) {
	from, to = min((l.page-1)*l.each, read), min(l.page*l.each, read)
	at := func(page int) string {
		q := l.v.URL.Query()
		q.Set("page", strconv.Itoa(page))
		return l.v.URL.Path + "?" + q.Encode()
	}
	if l.page > 1 {
		p.Before = at(l.page - 1)
	}
	if read > to {
		p.After = at(l.page + 1)
	}
	p.Text = fmt.Sprintf("%d to %d", min(from+1, to), to)
	return from, to, p
}

// applyPage is one apply with all that is known of it.
type applyPage struct {
	instanceHead
	Record reconciler.Record
	Badge  badge
	Line   string
	Can    bool
}

func (s *Site) apply(v *visit) (reply, error) {
	head, err := s.headOf(v, "history")
	if err != nil {
		return nil, err
	}
	seq, _ := strconv.Atoi(v.PathValue("seq"))
	records, err := s.api.History(v.Context(), head.Name, maxHistory)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(records, func(r reconciler.Record) bool { return r.Seq == seq })
	if i < 0 {
		return nil, &server.Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("find apply %s of %s: there is none", v.PathValue("seq"), head.Name),
			Hint: "the history lists those that are remembered"}
	}
	r := records[i]
	page := applyPage{instanceHead: head, Record: r, Badge: outcomeBadge(r.Outcome), Line: reconciler.Summary(r.Actions)}
	generations, err := s.api.Generations(v.Context(), head.Name)
	if err != nil {
		return nil, err
	}
	page.Can = r.Generation != head.Generation && slices.ContainsFunc(generations, func(g reconciler.Generation) bool { return g.Number == r.Generation && g.Good })
	view := head.view("apply", fmt.Sprintf("%s: apply %d, generation %d", head.Name, r.Seq, r.Generation), page)
	view.Live = "" // what is over does not change
	return view, nil
}

// generation leads to the newest apply of a generation, of those that stand if
// there is one.
func (s *Site) generation(v *visit) (reply, error) {
	name := v.PathValue("name")
	records, err := s.api.History(v.Context(), name, maxHistory)
	if err != nil {
		return nil, err
	}
	of := func(r reconciler.Record) bool { return strconv.Itoa(r.Generation) == v.PathValue("number") }
	i := slices.IndexFunc(records, func(r reconciler.Record) bool { return of(r) && r.Outcome == reconciler.Applied && r.Kind != "heal" })
	if i < 0 {
		i = slices.IndexFunc(records, of)
	}
	if i < 0 {
		return nil, &server.Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("find generation %s of %s: no apply of it is remembered", clip(v.PathValue("number"), 20), name),
			Hint: "the history lists those that are remembered"}
	}
	return redirect{fmt.Sprintf("%s/applies/%d", instancePath(name), records[i].Seq)}, nil
}

// imageChange is an image that a rollback would bring back.
type imageChange struct{ Ref, Now, Then string }

// imageChanges compares what the references of two generations meant. A
// reference that only one of them has is in the plan.
func imageChanges(now, then reconciler.Generation) (out []imageChange) {
	for _, ref := range slices.Sorted(maps.Keys(then.Images)) {
		img, both := now.Images[ref]
		if a, b := imageName(img), imageName(then.Images[ref]); both && a != b {
			out = append(out, imageChange{ref, a, b})
		}
	}
	return out
}

func imageName(img reconciler.Image) string {
	if img.Digest != "" {
		return shortDigest(img.Digest)
	}
	return shortDigest(img.ID)
}
