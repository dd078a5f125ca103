package reconciler

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// Line is one line of the log of what is done for an instance, told as it is
// done. Lines are for people who watch: nothing is decided by them, and they are
// not kept over a restart, as events and records are.
type Line struct {
	At   time.Time `json:"at"`
	Kind LineKind  `json:"kind"`
	// Object is what it is about: a container, network, volume, service or image;
	// empty: the instance.
	Object  string  `json:"object,omitempty"`
	Text    string  `json:"text"`
	Outcome Outcome `json:"outcome,omitempty"` // of a result
}

// LineKind says what a Line tells of.
type LineKind string

// The kinds of lines, in about the order in which an apply has them.
const (
	LineGate   LineKind = "gate"   // something is held back, or refused
	LineBegin  LineKind = "begin"  // something is begun
	LinePull   LineKind = "pull"   // images are fetched
	LinePlan   LineKind = "plan"   // what will be done
	LineAction LineKind = "action" // an action begins or is done
	LineWait   LineKind = "wait"   // a container is not ready yet, or is
	LineCheck  LineKind = "check"  // the application is asked whether it is well
	LineSmoke  LineKind = "smoke"  // smoke steps are made
	LineSwitch LineKind = "switch" // requests are led elsewhere
	LineBake   LineKind = "bake"   // it has to stay well for a while
	LineOutput LineKind = "output" // last lines of a container that failed
	LineUndo   LineKind = "undo"   // the way back begins
	LineResult LineKind = "result" // what came of it
)

// Lines is told each line. It must not block.
type Lines func(Line)

// teller tells lines with the sensitive values of a specification hidden.
type teller struct {
	to        Lines // nil: nobody is told
	sensitive []string
}

func (r *Instance) teller(specs ...desired.Spec) teller {
	t := teller{to: r.cfg.Lines}
	for _, s := range specs {
		t.sensitive = append(t.sensitive, s.Sensitive...)
	}
	return t
}

// own is the teller of what is not about one target.
func (r *Instance) own() teller { return r.teller(r.loaded.spec, r.lastTarget().Spec) }

func (t teller) say(kind LineKind, object, format string, args ...any) {
	t.line(Line{Kind: kind, Object: object, Text: fmt.Sprintf(format, args...)})
}

func (t teller) line(l Line) {
	if t.to == nil {
		return
	}
	l.At, l.Text = time.Now().UTC(), redactText(t.sensitive, l.Text)
	t.to(l)
}

// begins shows that an apply is on its way.
func (r *Instance) begins(format string, args ...any) {
	r.setStatus(func(s *Status) { s.Phase = PhaseApplying })
	r.own().say(LineBegin, "", format, args...)
}

// sayPlan tells what will be done, and what users notice of it.
func (r *Instance) sayPlan(a application, switches []SwitchReport) {
	tell := r.teller(a.target.Spec)
	tell.say(LinePlan, "", "%s", Summary(a.planned.Actions))
	for _, s := range switches {
		tell.say(LinePlan, s.Service, "%s", s.Line())
	}
}

// maxOutput bounds the lines of a container that are told of one that failed.
const maxOutput = 20

// sayResult tells what came of an apply.
func (r *Instance) sayResult(rec Record) {
	tell := r.own()
	for _, g := range rec.Gaps {
		tell.say(LineSwitch, g.Service, "%s", g.Line())
	}
	for _, text := range rec.Logs[max(0, len(rec.Logs)-maxOutput):] {
		tell.say(LineOutput, "", "%s", text)
	}
	took, text := Took(rec.Duration), ""
	switch rec.Outcome {
	case Applied:
		text = fmt.Sprintf("generation %d stands, after %s", rec.Generation, took)
	case RolledBack:
		text = fmt.Sprintf("generation %d failed and generation %d is back, after %s: %s", rec.Generation, rec.From, took, rec.Reason)
	case Superseded:
		text = fmt.Sprintf("something newer took over from generation %d, after %s", rec.Generation, took)
	default:
		text = fmt.Sprintf("generation %d failed, after %s: %s", rec.Generation, took, rec.Reason)
	}
	tell.line(Line{Kind: LineResult, Outcome: rec.Outcome, Text: text})
}

// sayNotBegun tells that the way to something could not be begun.
func (r *Instance) sayNotBegun(cause, err error) {
	switch {
	case errors.Is(cause, errSuperseded):
		r.sayEnd(Superseded, "something newer took over before anything was touched")
	case cause != nil:
		r.sayEnd("", "the daemon stops; nothing was touched")
	default:
		r.sayEnd(Failed, "nothing was touched: %v", err)
	}
}

// sayEnd tells that an apply ended of which there is no record.
func (r *Instance) sayEnd(outcome Outcome, format string, args ...any) {
	r.own().line(Line{Kind: LineResult, Outcome: outcome, Text: fmt.Sprintf(format, args...)})
}

// sayAction tells that an action begins; what it returns tells that it is done.
func (x *executor) sayAction(a Action) (done func()) {
	began := time.Now()
	x.tell.say(LineAction, a.Object, "%s %s: %s", a.Verb, a.Kind, a.Reason)
	return func() { x.tell.say(LineAction, a.Object, "%s %s: done in %s", a.Verb, a.Kind, Took(time.Since(began))) }
}

// sayDependency tells that a service waits for another one.
func (x *executor) sayDependency(service string, d desired.Dependency) {
	condition := strings.ReplaceAll(strings.TrimPrefix(string(d.Condition), "service_"), "_", " ")
	x.tell.say(LineWait, service, "wait for %s (%s), on which it depends", d.Service, condition)
}

// sayWait tells what is waited for; what it returns tells that it has come.
func (x *executor) sayWait(w Wait) (done func()) {
	began, name, what := time.Now(), x.target.Spec.ContainerName(w.Service, w.Replica), "until it is up and healthy"
	switch {
	case w.Condition == desired.Completed:
		what = "until it has ended"
	case x.answersHTTP(w.Service):
		what = "until it answers GET " + x.target.Spec.Check.Path
	}
	x.tell.say(LineWait, name, "wait %s", what)
	return func() { x.tell.say(LineWait, name, "ready after %s", Took(time.Since(began))) }
}
