package reconciler_test

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

func TestWordsForPeople(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{reconciler.Took(812400 * time.Microsecond), "812ms"},
		{reconciler.Took(3449 * time.Millisecond), "3.4s"},
		{reconciler.Took(61500 * time.Millisecond), "1m2s"},
		{reconciler.Count(1, "request"), "1 request"},
		{reconciler.Count(0, "request"), "0 requests"},
		{reconciler.Summary(nil), "Plan: nothing to do."},
		{reconciler.Summary([]reconciler.Action{{Verb: reconciler.Create}, {Verb: reconciler.Update}, {Verb: reconciler.Create}}),
			"Plan: 2 to create, 0 to replace, 0 to remove, 1 to update."},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
