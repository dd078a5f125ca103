// Package reconciler gets from what is to what should be. It holds the pure
// planner, the loop of an instance, the apply with its journal, generations
// with rollback and quarantine, and the status that people read. It knows
// containers only through the interfaces in driver.go and revisions only
// through a Source; engines, git and HTTP live in packages that import this one.
//
// Words: a spec is what a revision says; a target is a spec with its images
// resolved; observed is what is really there; a plan is the list of actions
// between the two; a generation is one target that was applied, numbered and
// kept for rollback; drift is a plan that is not empty although the target did
// not change; a pass is one round of observe, plan, apply.
package reconciler
