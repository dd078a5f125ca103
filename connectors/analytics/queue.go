package analytics

import (
	"fmt"
	"slices"
	"time"
)

// ErrBusy says that too many wait already. The text is for the one who asked.
type ErrBusy struct {
	RetryAfter time.Duration
	Waiting    int
}

func (e ErrBusy) Error() string {
	return fmt.Sprintf("too busy: no query worker is free and %d queries wait; try again in %s", e.Waiting, e.RetryAfter)
}

// ticket is a place in the queue.
type ticket struct {
	user   string
	worker chan *worker // gets the worker, once
	failed chan error   // or why there is none
}

// queue is fair over users: each user with somebody waiting has a turn, one
// after the other, and within a user the first comes first. It decides and
// nothing else; whoever uses it has a lock around it.
type queue struct {
	max     int // that wait, of all users
	maxUser int // that wait, of one user
	atOnce  int // of one user that run
	turns   []string
	waiting map[string][]*ticket
	running map[string]int
	length  int
}

func newQueue(max, maxUser, atOnce int) *queue {
	return &queue{max: max, maxUser: maxUser, atOnce: atOnce, waiting: map[string][]*ticket{}, running: map[string]int{}}
}

// join takes a place; false when there is none left.
func (q *queue) join(t *ticket) bool {
	if q.length >= q.max || len(q.waiting[t.user]) >= q.maxUser {
		return false
	}
	if len(q.waiting[t.user]) == 0 {
		q.turns = append(q.turns, t.user)
	}
	q.waiting[t.user] = append(q.waiting[t.user], t)
	q.length++
	return true
}

// leave gives a place up; false when it is not one that waits.
func (q *queue) leave(t *ticket) bool {
	list := q.waiting[t.user]
	i := slices.Index(list, t)
	if i < 0 {
		return false
	}
	q.length--
	if list = slices.Delete(list, i, i+1); len(list) > 0 {
		q.waiting[t.user] = list
		return true
	}
	delete(q.waiting, t.user)
	q.turns = slices.DeleteFunc(q.turns, func(u string) bool { return u == t.user })
	return true
}

// ready is how many could run at once if there were workers for all of them.
func (q *queue) ready() (n int) {
	for user, list := range q.waiting {
		n += max(0, min(len(list), q.atOnce-q.running[user]))
	}
	return n
}

// next takes whose turn it is; nil when nobody who waits may run.
func (q *queue) next() *ticket {
	for i, user := range q.turns {
		if q.running[user] >= q.atOnce {
			continue
		}
		t := q.waiting[user][0]
		q.leave(t)
		q.running[user]++
		if len(q.waiting[user]) > 0 { // to the end of the line
			q.turns = append(slices.Delete(q.turns, i, i+1), user)
		}
		return t
	}
	return nil
}

// done says that one of a user's has run.
func (q *queue) done(user string) {
	if q.running[user]--; q.running[user] <= 0 {
		delete(q.running, user)
	}
}

// all takes everybody out.
func (q *queue) all() (list []*ticket) {
	for _, user := range q.turns {
		list = append(list, q.waiting[user]...)
	}
	q.turns, q.waiting, q.length = nil, map[string][]*ticket{}, 0
	return list
}
