package reconciler

import "fmt"

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
