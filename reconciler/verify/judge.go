package verify

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/desired"
)

// statusWanted says whether a status is one that is expected; without an
// expectation, one of 2xx.
func statusWanted(e *desired.Expect, status int) bool {
	wanted := statuses(e)
	if len(wanted) == 0 {
		return status >= 200 && status <= 299
	}
	return slices.Contains(wanted, status)
}

func statuses(e *desired.Expect) []int {
	if e == nil {
		return nil
	}
	if e.Status == 0 {
		return e.StatusIn
	}
	return append([]int{e.Status}, e.StatusIn...)
}

func statusText(e *desired.Expect) string {
	wanted := statuses(e)
	if len(wanted) == 0 {
		return "a status of 2xx"
	}
	words := make([]string, len(wanted))
	for i, s := range wanted {
		words[i] = strconv.Itoa(s)
	}
	return "status " + strings.Join(words, " or ")
}

// judge holds an answer against what the step expects, and saves from it.
func (r *run) judge(s desired.SmokeStep, got answer, result Result) Result {
	m := r.vars.mask
	doc, notJSON := got.json()
	if notJSON == nil {
		r.hideSaved(s.Save, doc) // before anything of the answer is shown
	}
	if !statusWanted(s.Expect, got.status) {
		return result.failed(statusText(s.Expect), got.describe(m))
	}
	var want map[string]any
	if s.Expect != nil {
		want = s.Expect.JSON
	}
	if len(want) == 0 && len(s.Save) == 0 {
		result.Status = Passed
		return result
	}
	if notJSON != nil {
		return result.failed("an answer in JSON", fmt.Sprintf("%v: %s", notJSON, got.describe(m)))
	}
	wrong, err := matchAll(doc, want, m)
	if err != nil {
		result.Status, result.Message = CannotTest, m.text(err.Error())
		return result
	}
	wrong = append(wrong, r.save(s.Save, doc)...)
	if len(wrong) == 0 {
		result.Status = Passed
		return result
	}
	var expected, found []string
	for _, w := range wrong {
		expected, found = append(expected, w.field+": "+w.want), append(found, w.field+": "+w.got)
	}
	return result.failed(bounded(expected), bounded(found))
}

// bounded joins what is told of the fields; whoever reads a report mends the
// first ones first.
func bounded(parts []string) string {
	const most = 5
	if len(parts) > most {
		parts = append(slices.Clone(parts[:most]), fmt.Sprintf("and %d more", len(parts)-most))
	}
	return strings.Join(parts, "; ")
}

func (r Result) failed(expected, found string) Result {
	r.Status, r.Expected, r.Found = Failed, expected, found
	return r
}

// hideSaved masks what the step saves, also when the step fails.
func (r *run) hideSaved(save map[string]string, doc any) {
	for _, field := range save {
		value, _ := lookup(doc, field)
		if text, isScalar := scalarText(value); isScalar {
			r.vars.mask.saved(text)
		}
	}
}

// save keeps fields for later steps. What cannot be kept is a mismatch.
func (r *run) save(save map[string]string, doc any) []mismatch {
	var wrong []mismatch
	for _, name := range slices.Sorted(maps.Keys(save)) {
		value, there := lookup(doc, save[name])
		text, isScalar := scalarText(value)
		if !isScalar || text == "" {
			wrong = append(wrong, mismatch{save[name], "a value to keep as " + name, r.vars.mask.show(value, there)})
			continue
		}
		r.vars.saved[name] = text
	}
	return wrong
}
