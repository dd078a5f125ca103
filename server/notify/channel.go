package notify

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// channel is where notices go, with what waits for it. Instances that name the
// same one share it.
type channel struct {
	Spec desired.NotifySpec `json:"spec"`
	// Queue are the notices that were not delivered yet, oldest first. Those
	// that are on their way are still in it.
	Queue []queued `json:"queue,omitempty"`
	// Lost counts those that had no room or came to nothing.
	Lost   int       `json:"lost,omitempty"`
	LastOK time.Time `json:"last_ok,omitzero"`
	// Error is why the last try failed, since Failing; Tries counts them.
	Error   string    `json:"error,omitempty"`
	Failing time.Time `json:"failing,omitzero"`
	Tries   int       `json:"tries,omitempty"`
	// Next is when it may be tried again.
	Next time.Time `json:"next,omitzero"`
	// Lately are the messages that were sent within the time of lately.
	Lately []time.Time `json:"lately,omitempty"`

	busy bool // somebody delivers
}

// queued is a notice on its way. ID is the delivery's, the same in each try.
type queued struct {
	ID     string    `json:"id"`
	Notice Notice    `json:"notice"`
	Since  time.Time `json:"since"`
}

// The bounds of a channel.
const (
	maxQueue = 200
	// expires is how long a notice is worth telling.
	expires = 24 * time.Hour
	// gather is how long others are waited for, which may come at the same time.
	gather = 2 * time.Second
	// spacing is the least time between two messages to a chat; more than
	// apart at once are told in one.
	spacing = 5 * time.Second
	apart   = 3
	// burst messages within lately are enough: what comes after them, when many
	// instances fail one after the other, is told once in a pause of calm.
	burst  = 4
	lately = 10 * time.Minute
	calm   = 2 * time.Minute

	firstRetry = 5 * time.Second
	lastRetry  = 10 * time.Minute
	// failingLong is from when a channel that fails is a warning.
	failingLong = 10 * time.Minute
)

// channelID names a channel by what it is, without telling it.
func channelID(s desired.NotifySpec) string {
	return fingerprint(strings.Join([]string{s.URL, s.Secret, s.Template}, "\x00"))
}

func (c *channel) push(q queued) {
	c.Queue = append(c.Queue, q)
	for len(c.Queue) > maxQueue {
		at := max(0, slices.IndexFunc(c.Queue, func(q queued) bool { return q.Notice.minor() }))
		c.Queue = slices.Delete(c.Queue, at, at+1)
		c.Lost++
	}
}

// webhook says whether it is our own kind, which gets each notice by itself.
func (c *channel) webhook() bool { return strings.HasPrefix(c.Spec.URL, "generic+") }

// expire drops what is too old to be worth telling.
func (c *channel) expire(now time.Time) (dropped bool) {
	before := len(c.Queue)
	c.Queue = slices.DeleteFunc(c.Queue, func(q queued) bool { return now.Sub(q.Since) > expires })
	c.Lost += before - len(c.Queue)
	return len(c.Queue) != before
}

// due is when something is to be sent; zero: nothing waits.
func (c *channel) due() time.Time {
	if len(c.Queue) == 0 {
		return time.Time{}
	}
	at := c.Queue[0].Since.Add(gather)
	if c.Next.After(at) {
		at = c.Next
	}
	return at
}

// take is what is to be sent next, and the ids of those of the queue that it
// stands for.
func (c *channel) take(now time.Time) (q queued, ids []string) {
	if c.webhook() || len(c.Queue) <= apart && !c.busyLately(now) || len(c.Queue) == 1 {
		return c.Queue[0], []string{c.Queue[0].ID}
	}
	var list []Notice
	for _, q := range c.Queue {
		list, ids = append(list, q.Notice), append(ids, q.ID)
	}
	return queued{ID: c.Queue[0].ID, Notice: digestOf(list), Since: c.Queue[0].Since}, ids
}

// busyLately says that a chat got so many messages that others are to wait.
func (c *channel) busyLately(now time.Time) bool {
	c.Lately = slices.DeleteFunc(c.Lately, func(at time.Time) bool { return now.Sub(at) > lately })
	return len(c.Lately) >= burst
}

// sent takes out what was delivered. What came in meanwhile stays.
func (c *channel) sent(ids []string, now time.Time) {
	c.Queue = slices.DeleteFunc(c.Queue, func(q queued) bool { return slices.Contains(ids, q.ID) })
	c.LastOK, c.Error, c.Failing, c.Tries = now, "", time.Time{}, 0
	if c.webhook() {
		c.Next = now
		return
	}
	c.Lately = append(c.Lately, now)
	if c.Next = now.Add(spacing); c.busyLately(now) {
		c.Next = now.Add(calm)
	}
}

// failed plans the next try; jitter is between 0 and 1.
func (c *channel) failed(err error, after time.Duration, jitter float64, now time.Time) {
	if c.Failing.IsZero() {
		c.Failing = now
	}
	wait := min(firstRetry<<min(c.Tries, 10), lastRetry)
	wait += time.Duration(jitter * float64(wait) / 4)
	c.Tries++
	c.Error, c.Next = err.Error(), now.Add(max(wait, after))
}

// Label is what a channel is called where its URL must not be shown.
func Label(s desired.NotifySpec) string {
	u, err := url.Parse(s.URL)
	if s.Name != "" || err != nil {
		return cmp.Or(s.Name, "channel")
	}
	switch {
	case strings.HasPrefix(u.Scheme, "generic+"):
		return "webhook " + u.Hostname()
	case slices.Contains(hosted, u.Scheme) && strings.Contains(u.Hostname(), "."):
		return u.Scheme + " " + u.Hostname()
	}
	return u.Scheme // the host of the others is a token or a word
}

// hosted are services whose URL has the name of a server as its host.
var hosted = []string{"bark", "gotify", "matrix", "mattermost", "ntfy", "rocketchat", "signal", "smtp", "zulip", "lark"}
