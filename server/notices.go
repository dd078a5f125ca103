package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/fairlead/fairlead/server/auth"
)

// ErrNoNotices says that there is no channel for notices, or none of a name.
var ErrNoNotices = errors.New("there is no channel")

// Notices are sent to channels; notify.Manager does, put into these types by the
// command.
type Notices interface {
	Channels() []NoticeChannel
	// Warnings are the channels that have been failing for long.
	Warnings() []string
	// Test sends a notice to a channel by its id or name, or to all.
	Test(ctx context.Context, channel, by string) ([]NoticeTest, error)
}

// NoticeChannel is where notices go. Its URL is told to nobody: it is as good as
// a password.
type NoticeChannel struct {
	ID        string    `json:"id" example:"5f2b8c1d9e3a4b60"`
	Name      string    `json:"name" doc:"as notify has it, else the service and host" example:"ntfy ntfy.acme.com"`
	Service   string    `json:"service" example:"slack"`
	Instances []string  `json:"instances,omitempty" doc:"that name it"`
	Host      bool      `json:"host,omitempty" doc:"whether the host's own configuration names it; it then hears of everything, or of hears"`
	Hears     []string  `json:"hears,omitempty" doc:"names, with * and ?, of the instances that the host has it hear of" example:"acme"`
	Kinds     []string  `json:"kinds,omitempty" doc:"of notices that go there; none: all"`
	Remind    string    `json:"remind" doc:"how often is told again of what is not over; 0s: never" example:"24h"`
	Waiting   int       `json:"waiting" doc:"notices that were not delivered yet"`
	Lost      int       `json:"lost" doc:"notices that were given up: too many, or undeliverable for a day"`
	LastOK    time.Time `json:"last_ok,omitzero" doc:"when one was delivered last"`
	Error     string    `json:"error,omitempty" doc:"why the last try failed"`
	Failing   time.Time `json:"failing_since,omitzero"`
	Next      time.Time `json:"next_try,omitzero"`
}

// NoticeList are the channels.
type NoticeList struct {
	Channels []NoticeChannel `json:"channels"`
	// CommitStatus is why the status of commits cannot be set on the git host.
	CommitStatus string `json:"commit_status_error,omitempty" doc:"why the status of commits cannot be set on the git host"`
}

// NoticeTestRequest says which channel is tried.
type NoticeTestRequest struct {
	Channel string `json:"channel,omitempty" maxLength:"200" doc:"id or name; none: all"`
}

// NoticeTest is what came of a test.
type NoticeTest struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// NoticeTests are the tests of several channels.
type NoticeTests struct {
	Results []NoticeTest `json:"results"`
}

const noticeTag = "notices"

func (a *API) noticeRoutes(r *router) {
	route(r, operation{method: http.MethodGet, path: "/api/notices", id: "listNotices", tag: noticeTag, role: auth.RoleAdmin,
		summary: "Where notices go", description: "With the last delivery and what fails. URLs and secrets are not shown."},
		func(ctx context.Context, _ *none) (NoticeList, error) { return a.NoticeChannels(ctx) })
	route(r, operation{method: http.MethodPost, path: "/api/notices/test", id: "testNotices", tag: noticeTag, role: auth.RoleAdmin, costly: true,
		summary: "Send a test notice", description: "It waits for what comes of it; a channel that fails is in the answer.", errors: map[int]string{http.StatusNotFound: "There is no such channel."}},
		func(ctx context.Context, in *struct{ Body *NoticeTestRequest }) (NoticeTests, error) {
			return a.TestNotices(ctx, orZero(in.Body))
		})
}

// NoticeChannels lists the channels.
func (a *API) NoticeChannels(context.Context) (NoticeList, error) {
	list := NoticeList{Channels: []NoticeChannel{}}
	if a.cfg.Notices != nil {
		list.Channels = append(list.Channels, a.cfg.Notices.Channels()...)
	}
	if a.cfg.CommitStatus != nil {
		if err := a.cfg.CommitStatus(); err != nil {
			list.CommitStatus = err.Error()
		}
	}
	return list, nil
}

// TestNotices sends a test notice.
func (a *API) TestNotices(ctx context.Context, req NoticeTestRequest) (NoticeTests, error) {
	const hint = "GET /api/notices or fairlead notify ls lists them; notify in instance.yaml, or notify.urlFile in agent.yaml, adds one"
	if a.cfg.Notices == nil {
		return NoticeTests{}, &Error{Status: http.StatusNotFound, Detail: "test notices: no daemon runs that sends any", Hint: "start it: fairlead run"}
	}
	list, err := a.cfg.Notices.Test(ctx, req.Channel, by(ctx))
	if errors.Is(err, ErrNoNotices) {
		return NoticeTests{}, &Error{Status: http.StatusNotFound, Detail: "test notices: " + clipped(err.Error()), Hint: hint}
	}
	if err != nil {
		return NoticeTests{}, fmt.Errorf("test notices: %w", err)
	}
	return NoticeTests{list}, nil
}

// NoticeChannels asks the daemon.
func (c *Client) NoticeChannels(ctx context.Context) (NoticeList, error) {
	return call[NoticeList](ctx, c, http.MethodGet, "/api/notices", nil)
}

// TestNotices asks the daemon.
func (c *Client) TestNotices(ctx context.Context, req NoticeTestRequest) (NoticeTests, error) {
	return call[NoticeTests](ctx, c, http.MethodPost, "/api/notices/test", req)
}

// examineNotices tells of channels that fail: those who listen there are not told
// of anything, this neither.
func (a *API) examineNotices(e *examiner) {
	if a.cfg.Notices != nil {
		for _, w := range a.cfg.Notices.Warnings() {
			e.find(healthNotices, SeverityWarning, "notices do not reach a channel", w)
		}
	}
	if a.cfg.CommitStatus != nil {
		if err := a.cfg.CommitStatus(); err != nil {
			e.find(healthNotices, SeverityWarning, "the status of commits cannot be set", err.Error())
		}
	}
}
