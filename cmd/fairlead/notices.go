package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"

	certsource "github.com/fairlead/fairlead/certs/source"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/hooks"
	"github.com/fairlead/fairlead/server/notify"
	"github.com/fairlead/fairlead/server/notify/forge"
)

// notices tell people, and the git host, what happens.
type notices struct {
	*notify.Manager
	view   *noticeView
	poster *forge.Poster // nil: the status of commits is not set
	host   string
	link   func(string) string
}

var _ server.Notices = channelList{}

// keepNotices puts together who is told what, over an open data directory, which
// has to be this process's. sys gets its manager later.
func keepNotices(s settings, c *cli, sys *system, store *reconciler.Store, log *logrus.Entry) (*notices, error) {
	log = log.WithField("part", "notices")
	channels, err := s.Notices.channels()
	if err != nil {
		return nil, err
	}
	if s.Notices.URLFile != "" && openToOthers(s.Notices.URLFile) {
		log.Warn("notify.urlFile can be read by others on this host: chmod 0600 " + s.Notices.URLFile)
	}
	within, err := s.Fetch.noticeReach()
	if err != nil {
		return nil, err
	}
	own, err := json.Marshal(childReach{s.Fetch.AllowedHosts, s.Fetch.CAFile, s.Fetch.Proxy})
	if err != nil {
		return nil, err
	}
	agent := "Fairlead/" + c.version
	n := &notices{view: &noticeView{sys, store}, host: s.hostLabel(), link: s.link}
	n.Manager = notify.New(notify.Options{View: n.view, Book: store.Notebook("notices"), Host: channels, HostName: n.host, Link: s.link, Reach: within,
		Command: shoutCommand(s.Fetch), ChildHost: own, Agent: agent, Jitter: mathrand.Float64, Log: log})
	if s.Notices.Commits.TokenFile == "" {
		return n, nil
	}
	site, err := forge.SiteOf(s.Repo, s.Notices.Commits.Provider, s.Notices.Commits.URL)
	if err != nil {
		return nil, fmt.Errorf("commitStatus: %w", err)
	}
	roots, err := s.Fetch.roots()
	if err != nil {
		return nil, err
	}
	n.poster = forge.New(forge.Options{Site: site, Token: func() (string, error) { return readToken(s.Notices.Commits.TokenFile, 1) }, Book: store.Notebook("notices"),
		Client: forge.NewClient(roots, s.Fetch.proxy()), Agent: agent, Jitter: mathrand.Float64, Log: log})
	return n, nil
}

// Run tells until ctx ends.
func (n *notices) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.Manager.Run(ctx) })
	if n.poster != nil {
		group.Go(func() error { return n.poster.Run(ctx) })
		group.Go(func() error { return n.followCommits(ctx) })
	}
	return group.Wait()
}

// trouble is why the status of commits cannot be set.
func (n *notices) trouble() func() error {
	if n.poster == nil {
		return nil
	}
	return n.poster.Err
}

// hostLabel is how this machine is called in notices: by the name that people
// reach it by.
func (s settings) hostLabel() string {
	if s.Server.Host != "" {
		return s.Server.Host
	}
	if name, err := os.Hostname(); err == nil && name != "" {
		return name
	}
	return "localhost"
}

// link is the page of an instance, or of all; empty: there is none that others
// reach.
func (s settings) link(instance string) string {
	switch {
	case s.Server.Host == "":
		return ""
	case instance == "":
		return "https://" + s.Server.Host + "/"
	}
	return "https://" + s.Server.Host + "/instances/" + instance
}

// noticeReach is what channels may connect to: what references may.
func (f fetchSettings) noticeReach() (notify.Reach, error) {
	roots, err := f.roots()
	return notify.Reach{Allow: f.allowConnection, Public: func(at netip.Addr) error { return certsource.PermitsAddress(at, false) }, Proxy: f.proxy(), Roots: roots}, err
}

// childReach is what the child is told of it.
type childReach struct {
	AllowedHosts []string
	CAFile       string
	Proxy        string
}

// noticeChild is the mode of the child that sends to chats.
const noticeChild = "notice"

// shoutCommand starts it, with no variable of the daemon's: some hold secrets.
func shoutCommand(f fetchSettings) func(context.Context) *exec.Cmd {
	return func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "/proc/self/exe", childCommand, noticeChild)
		cmd.Env, cmd.Dir = []string{}, "/"
		if f.CAFile != "" {
			cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+f.CAFile) // beside the system's directory
		}
		return cmd
	}
}

// shoutChild is the body of that child.
func shoutChild() int {
	err := notify.Shout(context.Background(), os.Stdin, os.Stdout, func(host json.RawMessage) (notify.Reach, error) {
		var r childReach
		if err := json.Unmarshal(host, &r); err != nil {
			return notify.Reach{}, err
		}
		return fetchSettings{AllowedHosts: r.AllowedHosts, CAFile: r.CAFile, Proxy: r.Proxy}.noticeReach()
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitError1
	}
	return exitDone
}

// noticeView is what is seen of the daemon.
type noticeView struct {
	sys   *system
	store *reconciler.Store
}

var _ notify.View = (*noticeView)(nil)

func (v *noticeView) Statuses() (list []reconciler.Status) {
	for _, r := range v.sys.manager.Instances() {
		list = append(list, r.Status())
	}
	return list
}

func (v *noticeView) Host() notify.HostView {
	h := notify.HostView{Source: v.sys.manager.Source(), Problems: v.sys.manager.Problems()}
	if v.sys.trouble != nil {
		h.Store = v.sys.trouble()
	}
	for _, s := range v.Statuses() {
		c := s.Condition(reconciler.ContainersReady)
		if c.Reason == "EngineUnreachable" && (h.EngineDown.IsZero() || c.Since.Before(h.EngineDown)) {
			h.EngineDown = c.Since
		}
	}
	return h
}

func (v *noticeView) Recent(instance string, limit int) ([]reconciler.Event, error) {
	return v.sys.events.Recent(instance, limit)
}

func (v *noticeView) History(instance string, limit int) ([]reconciler.Record, error) {
	return v.store.History(instance, limit)
}

func (v *noticeView) Listen() (<-chan reconciler.Event, func()) { return v.sys.events.Listen() }

// channelList is the Manager as the API wants it.
type channelList struct{ *notices }

func (c channelList) Channels() (list []server.NoticeChannel) {
	for _, one := range c.Manager.Channels() {
		list = append(list, server.NoticeChannel{ID: one.ID, Name: one.Name, Service: one.Service, Instances: one.Instances, Host: one.Host, Hears: one.Hears, Kinds: one.On,
			Remind: desired.Duration(one.Remind).String(), Waiting: one.Waiting, Lost: one.Lost, LastOK: one.LastOK, Error: one.Error, Failing: one.Failing, Next: one.Next})
	}
	return list
}

func (c channelList) Test(ctx context.Context, channel, by string) (list []server.NoticeTest, err error) {
	results, err := c.Manager.Test(ctx, channel, by)
	if errors.Is(err, notify.ErrNoChannel) {
		if channel == "" {
			channel = "yet: notices go nowhere"
		}
		return nil, fmt.Errorf("%w %s", server.ErrNoNotices, channel)
	}
	for _, one := range c.Manager.Channels() {
		if err, tested := results[one.ID]; tested {
			t := server.NoticeTest{ID: one.ID, Name: one.Name, OK: err == nil}
			if err != nil {
				t.Error = err.Error()
			}
			list = append(list, t)
		}
	}
	return list, err
}

// keepWebhooks says how webhooks are taken.
func keepWebhooks(s settings, sys *system) (*server.Webhooks, error) {
	name, own := s.hookSecretFile()
	if own {
		if err := makeHookSecret(name); err != nil {
			return nil, err
		}
	}
	repo := s.Repo
	if s.local() {
		repo = ""
	}
	return &server.Webhooks{
		Repo:   repo,
		Secret: func() ([]byte, error) { v, err := readToken(name, hooks.MinSecret); return []byte(v), err },
		Check: func(ctx context.Context, ref string) error {
			_, err := sys.releases.Release(ctx, ref, reconciler.Ask{Fresh: true})
			return err
		},
	}, nil
}

// hookSecretFile is where the secret of webhooks is, and whether it is ours to
// make.
func (s settings) hookSecretFile() (name string, own bool) {
	if s.Notices.HookSecret != "" {
		return s.Notices.HookSecret, false
	}
	return filepath.Join(s.Data, "state", "hook.secret"), true
}

func makeHookSecret(name string) error {
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails (crypto/rand)
	return writeFile(name, []byte(hex.EncodeToString(b)+"\n"), 0o600)
}

// keepTelling wires what tells people, and who tells us. It is for a daemon.
func (c *cli) keepTelling(s settings, sys *system, store *reconciler.Store, cfg *reconciler.ManagerConfig, api *server.Config, log *logrus.Entry) (err error) {
	if sys.notices, err = keepNotices(s, c, sys, store, log); err != nil {
		return err
	}
	cfg.Notices, api.Notices, api.CommitStatus = sys.notices, channelList{sys.notices}, sys.notices.trouble()
	api.Unconfined = sys.sources.unconfined
	api.Webhooks, err = keepWebhooks(s, sys)
	return err
}
