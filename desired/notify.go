package desired

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// Notify is one entry of notify, as written: a URL alone stands for an entry
// with nothing but url.
type Notify struct {
	URL      string    `json:"url" need:"true" is:"notify" doc:"Where notices go: the URL of a service as shoutrrr has it, or generic+https:// for a webhook. Its secrets are written ${secret:NAME}."`
	Name     string    `json:"name,omitempty" is:"title" default:"the service and host of url" doc:"What the channel is called where its URL must not be shown."`
	Secret   string    `json:"secret,omitempty" is:"notifySecret" doc:"What a webhook's messages are signed with, 16 characters at least. A secret: ${secret:NAME}."`
	On       []string  `json:"on,omitempty" is:"notifyKind" unique:"true" default:"all" doc:"The kinds of notices that go there."`
	Remind   *Duration `json:"remind,omitempty" is:"reminder" default:"24h" doc:"How often is told again of what is not over; 0s: never."`
	Deferred *Duration `json:"deferred,omitempty" is:"noticeDelay" default:"72h" doc:"From when on is told that a release waits for its time (window, minAge, busy)."`
	Template string    `json:"template,omitempty" is:"noticeTemplate" default:"a text for each kind" doc:"The text of a notice, as a Go template over the fields of a notice."`
}

// NotifySpec is a channel that notices of an instance go to, with its secrets
// filled in.
type NotifySpec struct {
	URL    string `json:"url"`
	Name   string `json:"name,omitempty"`
	Secret string `json:"secret,omitempty"`
	// On are the kinds that go there; empty: all.
	On []string `json:"on,omitempty"`
	// Remind is the time between two reminders; 0: there are none.
	Remind time.Duration `json:"remind,omitempty"`
	// Deferred is how long a release waits before that is told; 0: DefaultDeferred.
	Deferred time.Duration `json:"deferred,omitempty"`
	Template string        `json:"template,omitempty"`
	// Instances are globs of the names of those that a channel of the host hears
	// of, and then not of the host as a whole; empty: of everything.
	Instances []string `json:"instances,omitempty"`
}

// Hears says whether a channel of the host hears of an instance; of the host as
// a whole for an empty name.
func (s NotifySpec) Hears(instance string) bool {
	if len(s.Instances) == 0 {
		return true
	}
	return slices.ContainsFunc(s.Instances, func(glob string) bool {
		fits, err := path.Match(glob, instance)
		return err == nil && fits && instance != ""
	})
}

// NoticeKinds are the kinds of notices, in the order in which documents list
// them.
func NoticeKinds() []string {
	return []string{"applied", "failed", "rolled-back", "quarantined", "drift-healed", "deferred", "degraded", "certificate", "attachment", "source", "recovered"}
}

// NoticeServices are the schemes of URLs that notices can go to, apart from
// webhooks.
func NoticeServices() []string {
	return []string{"bark", "discord", "gotify", "googlechat", "hangouts", "ifttt", "join", "lark", "matrix", "mattermost", "notifiarr", "ntfy",
		"opsgenie", "pagerduty", "pushbullet", "pushover", "rocketchat", "signal", "slack", "smtp", "teams", "telegram", "wecom", "zulip"}
}

// The schemes of a signed webhook.
const (
	WebhookHTTPS = "generic+https"
	WebhookHTTP  = "generic+http"
)

const (
	// DefaultRemind is the time between two reminders.
	DefaultRemind = 24 * time.Hour
	// DefaultDeferred is more than a weekend without a window.
	DefaultDeferred = 72 * time.Hour
	minRemind       = 5 * time.Minute
	maxNotifyURL    = 2000
)

func notifySyntaxes() map[string]syntax {
	return map[string]syntax{
		"notify":         {quiet: true, secret: true, what: "a notice URL", pattern: pat(`^[a-z][a-z0-9.+-]*://\S+$`), example: "slack://hook:${secret:SLACK_TOKEN}@webhook", check: checkNotifyURL, advise: adviseNotify},
		"notifyKind":     {what: "a kind of notice", words: NoticeKinds()},
		"notifySecret":   {quiet: true, secret: true, what: "a secret of 16 characters or more", pattern: pat(`^[\x20-\x7e]{16,200}$`), example: "${secret:HOOK_SECRET}", hint: "write ${secret:NAME}; openssl rand -hex 32 makes a good one"},
		"reminder":       {what: "a time between reminders", min: 0, max: int64(90 * 24 * time.Hour), example: "4h"},
		"noticeDelay":    {what: "a time", min: int64(time.Minute), max: int64(365 * 24 * time.Hour), example: "24h"},
		"noticeTemplate": {quiet: true, what: "a template of a notice", example: "{{.Title}}: {{.Message}}", check: checkNoticeTemplate},
	}
}

// adviseNotify shows the service at most: the rest may be a token.
func adviseNotify(got string) string {
	scheme, _, found := strings.Cut(got, "://")
	base, _, _ := strings.Cut(scheme, "+")
	if !found || slices.Contains(append(NoticeServices(), "generic"), base) {
		return "for example slack://hook:${secret:SLACK_TOKEN}@webhook or generic+https://hooks.acme.com/fairlead"
	}
	return didYouMean(base, append(NoticeServices(), WebhookHTTPS))
}

// checkNotifyURL says nothing of the text itself, which may hold a token.
func checkNotifyURL(s string) error {
	scheme, _, _ := strings.Cut(s, "://")
	base, _, custom := strings.Cut(scheme, "+")
	switch {
	case len(s) > maxNotifyURL:
		return fmt.Errorf("it is longer than %d characters", maxNotifyURL)
	case strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '\\' }):
		return errors.New("it has a space, a backslash or a control character")
	case scheme == WebhookHTTPS, scheme == WebhookHTTP:
		return checkWebhook(strings.TrimPrefix(s, "generic+"))
	case base == "generic":
		return errors.New("a webhook is written generic+https://HOST/PATH")
	case base == "logger":
		return errors.New("fairlead events and the log of the daemon tell the same")
	case custom || !slices.Contains(NoticeServices(), base):
		return errors.New("its service is not known")
	}
	if u, err := url.Parse(s); err != nil || u.Host == "" && u.Path == "" && u.User == nil {
		return errors.New("it does not parse")
	}
	return nil
}

func checkWebhook(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("it does not parse")
	case u.Hostname() == "":
		return errors.New("it names no host")
	case u.User != nil:
		return errors.New("it holds a user or password; messages are signed with secret instead")
	case u.Fragment != "" || strings.HasSuffix(s, "#"):
		return errors.New("it has a fragment")
	}
	return nil
}

// withoutLogin are services whose URL can do without a token.
var withoutLogin = []string{"ntfy", "smtp", "signal"}

// NotifyURLHoldsSecret says whether a URL shows what only its channel's owner
// should know: a token, a password, or a path that is as good as one.
func NotifyURLHoldsSecret(s string) bool {
	scheme, _, _ := strings.Cut(s, "://")
	u, err := url.Parse(s)
	if err != nil {
		return true
	}
	_, password := u.User.Password()
	if scheme != WebhookHTTPS && scheme != WebhookHTTP {
		return password || !slices.Contains(withoutLogin, scheme) || scheme == "ntfy" && u.User != nil
	}
	for key := range u.Query() {
		if secretWord.MatchString(key) {
			return true
		}
	}
	return slices.ContainsFunc(tokenHosts, func(h string) bool { return u.Hostname() == h || strings.HasSuffix(u.Hostname(), "."+h) })
}

// tokenHosts are asked by URLs that are all that a sender needs.
var tokenHosts = []string{"hooks.slack.com", "discord.com", "discordapp.com", "webhook.office.com", "logic.azure.com", "chat.googleapis.com", "hooks.zapier.com"}

var secretWord = pat(`(?i)(token|secret|passw|pwd|^key$|api_?key|^sig$|signature|auth)`)

// checkNotify looks at what entries say together.
func (p *parsed) checkNotify() {
	first := map[string]int{}
	for i, n := range p.Notify {
		at := fmt.Sprintf("notify[%d]", i)
		if p.bad(at) {
			continue
		}
		if j, twice := first[n.URL]; twice {
			p.add(at, "the same URL stands twice", fmt.Sprintf("it is notify[%d] already", j))
			continue
		}
		first[n.URL] = i
		p.unique(at+".on", n.On)
		if n.Secret != "" && !strings.HasPrefix(n.URL, "generic+") && !secretWhole.MatchString(n.URL) {
			p.add(at+".secret", "is for webhooks only", "remove it, or write url: generic+https://…")
		}
		if n.Remind != nil && *n.Remind != 0 && time.Duration(*n.Remind) < minRemind {
			p.add(at+".remind", fmt.Sprintf("is less than %s", Duration(minRemind)), "0s switches reminders off")
		}
	}
}

// notify are the channels with the host's secrets filled in.
func (l *loader) notify(p Project) (out []NotifySpec) {
	f := l.filler(&l.file.document, p.HostEnv)
	for i, n := range l.file.Notify {
		at := fmt.Sprintf("notify[%d]", i)
		if l.file.bad(at) {
			continue
		}
		where := at
		if l.file.has(at + ".url") {
			where = at + ".url"
		}
		s := NotifySpec{URL: f.notifyURL(where, n.URL), Name: n.Name, On: n.On, Remind: orDefault(n.Remind, DefaultRemind), Deferred: orDefault(n.Deferred, DefaultDeferred), Template: n.Template}
		if n.Secret != "" {
			s.Secret = f.secretText(at+".secret", n.Secret, "notifySecret")
		}
		out = append(out, s)
	}
	l.noteHostSecrets("notify", f.wanted)
	return out
}

// notifyURL fills in a URL. One that shows a token in git is refused: whoever
// reads the repository could write to the channel.
func (f *filler) notifyURL(at, text string) string {
	value := f.raw(at, text)
	switch {
	case f.doc.bad(at):
	case secretUse.MatchString(text):
		if wrong := syntaxes["notify"].text(value); wrong != "" && !f.in.AnyHost {
			f.doc.add(at, wrong, lookAtValue+"; in a part of a URL @ is written %40 and / %2F")
		}
	case !f.own && NotifyURLHoldsSecret(text):
		f.doc.add(at, "a token or password stands here in the clear", "write ${secret:NAME} for the URL or the part of it, and have the token replaced: whoever reads the repository has it")
	}
	if NotifyURLHoldsSecret(value) {
		f.hide(value, value)
	}
	return value
}

// ParseChannel reads a channel of the host: its URL, and after it KEY=VALUE with
// spaces between them. The keys are name, on, remind and deferred as of notify,
// and instances; lists have commas. No error repeats the URL.
func ParseChannel(text string) (NotifySpec, error) {
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return NotifySpec{}, errors.New("it is empty")
	}
	s := NotifySpec{URL: fields[0], Remind: DefaultRemind, Deferred: DefaultDeferred}
	if err := CheckNotifyURL(s.URL); err != nil {
		return s, err
	}
	for _, field := range fields[1:] {
		key, value, is := strings.Cut(field, "=")
		if !is || value == "" {
			return s, errors.New("after the URL comes KEY=VALUE: name, on, remind, deferred or instances")
		}
		if err := s.set(key, value); err != nil {
			return s, fmt.Errorf("%s: %w", key, err)
		}
	}
	return s, nil
}

func (s *NotifySpec) set(key, value string) (err error) {
	switch key {
	case "name":
		s.Name = value
	case "on":
		s.On = strings.Split(value, ",")
		for _, kind := range s.On {
			if !slices.Contains(NoticeKinds(), kind) {
				return fmt.Errorf("%q is no kind of notice; there are %s", kind, strings.Join(NoticeKinds(), ", "))
			}
		}
	case "remind":
		if s.Remind, err = time.ParseDuration(value); err != nil || s.Remind != 0 && s.Remind < minRemind {
			return fmt.Errorf("it is 0s, or %s at least", Duration(minRemind))
		}
	case "deferred":
		if s.Deferred, err = time.ParseDuration(value); err != nil || s.Deferred < time.Minute {
			return errors.New("it is a time of a minute at least, for example 24h")
		}
	case "instances":
		s.Instances = strings.Split(value, ",")
		for _, glob := range s.Instances {
			if _, err := path.Match(glob, ""); err != nil || glob == "" {
				return fmt.Errorf("%q is not a name with * and ? in it", glob)
			}
		}
	default:
		return errors.New("there is no such key: name, on, remind, deferred, instances")
	}
	return nil
}

// CheckNotifyURL says what is wrong with the URL of a channel, without repeating
// it: for channels that are not in git.
func CheckNotifyURL(s string) error {
	if text := syntaxes["notify"].text(s); text != "" {
		return errors.New(text)
	}
	return nil
}
