package analytics

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/connectors"
)

// Whatever joins, leaves, runs and ends: nobody is lost or served twice, a user's
// own come in order, no user runs more than allowed, and nobody who may run waits
// while another user is served twice.
func TestQueueIsFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue(rapid.IntRange(1, 30).Draw(t, "max"), rapid.IntRange(1, 20).Draw(t, "maxUser"), rapid.IntRange(1, 3).Draw(t, "atOnce"))
		waiting := map[string][]*ticket{}
		running := map[string]int{}
		passed := map[string]map[string]int{} // how often others were served while a user could have been
		user := rapid.SampledFrom([]string{"ada", "bob", "cyd", "dan"})
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				tk := &ticket{user: user.Draw(t, "user")}
				total := 0
				for _, list := range waiting {
					total += len(list)
				}
				fits := total < q.max && len(waiting[tk.user]) < q.maxUser
				if q.join(tk) != fits {
					t.Fatalf("join with %d waiting: %v", total, !fits)
				}
				if fits {
					waiting[tk.user] = append(waiting[tk.user], tk)
				}
			},
			"leave": func(t *rapid.T) {
				u := user.Draw(t, "user")
				if len(waiting[u]) == 0 {
					if q.leave(&ticket{user: u}) {
						t.Fatal("somebody left who was not there")
					}
					return
				}
				i := rapid.IntRange(0, len(waiting[u])-1).Draw(t, "which")
				if !q.leave(waiting[u][i]) {
					t.Fatal("a waiting one could not leave")
				}
				if waiting[u] = slices.Delete(waiting[u], i, i+1); len(waiting[u]) == 0 {
					delete(passed, u)
				}
			},
			"next": func(t *rapid.T) { serve(t, q, waiting, running, passed) },
			"done": func(t *rapid.T) {
				if u := user.Draw(t, "user"); running[u] > 0 {
					running[u]--
					q.done(u)
				}
			},
			"": func(t *rapid.T) {
				for u := range q.running {
					if q.running[u] > q.atOnce {
						t.Fatalf("%s runs %d", u, q.running[u])
					}
				}
			},
		})
	})
}

func serve(t *rapid.T, q *queue, waiting map[string][]*ticket, running map[string]int, passed map[string]map[string]int) {
	may := map[string]bool{}
	for u, list := range waiting {
		may[u] = len(list) > 0 && running[u] < q.atOnce
	}
	tk := q.next()
	if tk == nil {
		for u, ok := range may {
			if ok {
				t.Fatalf("%s could run and nobody was served", u)
			}
		}
		return
	}
	if waiting[tk.user][0] != tk {
		t.Fatalf("%s was served out of order", tk.user)
	}
	if waiting[tk.user] = waiting[tk.user][1:]; running[tk.user] >= q.atOnce {
		t.Fatalf("%s runs too many", tk.user)
	}
	running[tk.user]++
	for u, ok := range may {
		if !ok || u == tk.user {
			delete(passed, u)
			continue
		}
		if passed[u] == nil {
			passed[u] = map[string]int{}
		}
		if passed[u][tk.user]++; passed[u][tk.user] > 1 {
			t.Fatalf("%s was served twice while %s waited", tk.user, u)
		}
	}
}

func TestQueueGivesTurns(t *testing.T) {
	q := newQueue(10, 10, 9)
	for i, u := range []string{"ada", "ada", "ada", "bob", "bob", "cyd"} {
		if !q.join(&ticket{user: fmt.Sprint(u), failed: make(chan error, i+1)}) {
			t.Fatal("no place")
		}
	}
	var order []string
	for tk := q.next(); tk != nil; tk = q.next() {
		order = append(order, tk.user)
	}
	if want := []string{"ada", "bob", "cyd", "ada", "bob", "ada"}; !slices.Equal(order, want) {
		t.Fatalf("order %v, want %v", order, want)
	}
}

// While the daemon starts no worker is there yet, which is no problem of a source:
// people would be told of a failure at each start. A start that failed is one.
func TestWorkersThatAreBeingStartedAreNoProblem(t *testing.T) {
	c := &catalog{version: 1, sources: map[string]*generation{"shop": {number: 3, manifest: &connectors.Manifest{}}}}
	p := &pool{all: map[*worker]bool{{}: true}}
	if at := p.attached(c, "shop"); !at.Behind || at.Problem != "" || at.Generation != 0 {
		t.Errorf("while it starts: %+v", at)
	}
	p.lastFail = errors.New("no memory")
	if at := p.attached(c, "shop"); !at.Behind || at.Problem != "no memory" {
		t.Errorf("after a start that failed: %+v", at)
	}
}
