package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/notify"
)

// still is a daemon in which nothing happens.
type still struct{}

func (still) Statuses() []reconciler.Status                    { return nil }
func (still) Host() notify.HostView                            { return notify.HostView{} }
func (still) Recent(string, int) ([]reconciler.Event, error)   { return nil, nil }
func (still) History(string, int) ([]reconciler.Record, error) { return nil, nil }
func (still) Listen() (<-chan reconciler.Event, func())        { return nil, func() {} }
func (still) Get(string) ([]byte, error)                       { return nil, nil }
func (still) Put(string, []byte) error                         { return nil }

// of has a notice signed with a secret sent to a receiver, and returns how often
// it was told.
func (r *receiver) of(t *testing.T, secret string) (n int32, err error) {
	t.Helper()
	var told atomic.Int32
	r.secret, r.seen, r.told = []byte("0123456789abcdef"), map[string]time.Time{}, func(notice) { told.Add(1) }
	server := httptest.NewServer(r)
	defer server.Close()
	log := logrus.New()
	log.SetOutput(io.Discard)
	m := notify.New(notify.Options{View: still{}, Book: still{}, HostName: "vm7", Log: logrus.NewEntry(log),
		Host:  []desired.NotifySpec{{URL: "generic+" + server.URL, Secret: secret}},
		Reach: notify.Reach{Allow: func(string, netip.Addr) error { return nil }}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = m.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for {
		results, terr := m.Test(ctx, "", "a test")
		if terr != nil {
			continue // it has not begun yet
		}
		for _, e := range results {
			err = e
		}
		return told.Load(), err
	}
}

func TestReceiver(t *testing.T) {
	r := &receiver{}
	if n, err := r.of(t, "0123456789abcdef"); err != nil || n != 1 {
		t.Errorf("told %d times, %v", n, err)
	}
	if n, err := r.of(t, "another-secret-0123"); err == nil || n != 0 {
		t.Errorf("told %d times, %v", n, err)
	}
	now := time.Now()
	if !r.first("a", now) || r.first("a", now) || !r.first("a", now.Add(2*remember)) {
		t.Error("a delivery is taken twice, or remembered for good")
	}
	old := http.Header{"X-Fairlead-Timestamp": {"1764000000"}, "X-Fairlead-Signature": {notify.Sign("0123456789abcdef", "1764000000", []byte("{}"))}}
	if r.genuine(old, []byte("{}"), time.Unix(1_764_000_000, 0).Add(time.Hour)) || !r.genuine(old, []byte("{}"), time.Unix(1_764_000_000, 0)) {
		t.Error("the time of a message does not count")
	}
}

// What the document shows is read without a problem.
func TestTheDocument(t *testing.T) {
	doc, err := os.ReadFile("../../docs/notices.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(doc), "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	if _, err := desired.ParseInstance("docs/notices.md", []byte("apiVersion: fairlead/v1\nname: a\n"+block)); err != nil || !strings.Contains(block, "notify:") {
		t.Errorf("%v\n%s", err, block)
	}
	_, template, _ := strings.Cut(string(doc), "\ntemplate: \"")
	template, _, _ = strings.Cut(template, "\"\n")
	if _, err := desired.ParseNoticeTemplate(template); err != nil {
		t.Errorf("%q: %v", template, err)
	}
}

func TestTheInstanceLoads(t *testing.T) {
	s, err := desired.Load(desired.Input{Tree: os.DirFS("."), Dir: ".", Compose: compose.Load, AnyHost: true})
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(s.Notes, "\n")
	if len(s.Notify) != 3 || s.Notify[1].Name != "deploys" || s.Notify[2].Remind != 0 || !strings.Contains(notes, "HOOK_SECRET, SLACK_TOKEN") {
		t.Errorf("got %+v\n%s", s.Notify, notes)
	}
}
