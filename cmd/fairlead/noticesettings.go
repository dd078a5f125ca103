package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/server/notify/forge"
)

// noticeSettings say who is told what, apart from what git says.
type noticeSettings struct {
	URLs       []string // without anything secret
	URLFile    string   // with one a line
	SecretFile string   // what webhooks among them are signed with
	HookSecret string   // file; empty: state/hook.secret, made at the first start
	Commits    commitSettings
}

// commitSettings say how the status of commits is set. Without a token it is not.
type commitSettings struct{ Provider, URL, TokenFile string }

func noticeOptions() []option {
	return []option{
		{flag: "notify-url", env: "FAIRLEAD_NOTIFY_URLS", key: "notify.urls", kind: "URL", list: true, help: "channel without a token that hears of everything: ntfy://, smtp:// or generic+https://, and after a space instances=GLOB,… and the like; may be repeated", set: setNotifyURLs},
		{flag: "notify-url-file", env: "FAIRLEAD_NOTIFY_URL_FILE", key: "notify.urlFile", kind: "FILE", help: "file with channels that hear of everything, one URL a line, and after a space instances=GLOB,… and the like", set: file(func(s *settings) *string { return &s.Notices.URLFile })},
		{flag: "notify-secret-file", env: "FAIRLEAD_NOTIFY_SECRET_FILE", key: "notify.secretFile", kind: "FILE", help: "file with what the webhooks among those channels are signed with", set: file(func(s *settings) *string { return &s.Notices.SecretFile })},
		{flag: "hook-secret-file", env: "FAIRLEAD_HOOK_SECRET_FILE", key: "hooks.secretFile", kind: "FILE", help: "file with the secret that senders of webhooks know (default: state/hook.secret under --data, made at the first start)", set: file(func(s *settings) *string { return &s.Notices.HookSecret })},
		{flag: "commit-status-provider", env: "FAIRLEAD_COMMIT_STATUS_PROVIDER", key: "commitStatus.provider", kind: "NAME", help: "git host whose commits get a status: " + strings.Join(forge.Providers(), ", ") + " (default: what the name of the host says)", set: one(setCommitProvider)},
		{flag: "commit-status-url", env: "FAIRLEAD_COMMIT_STATUS_URL", key: "commitStatus.url", kind: "URL", help: "base of its API (default: where the provider has it on the repository's host)", set: one(setCommitURL)},
		{flag: "commit-status-token-file", env: "FAIRLEAD_COMMIT_STATUS_TOKEN_FILE", key: "commitStatus.tokenFile", kind: "FILE", help: "file with a token that may set the status of commits; without one none is set", set: file(func(s *settings) *string { return &s.Notices.Commits.TokenFile })},
	}
}

func setNotifyURLs(s *settings, values []string) error {
	for _, v := range values {
		spec, err := desired.ParseChannel(v)
		if err != nil {
			return fmt.Errorf("%w; for example ntfy://ntfy.sh/TOPIC", err)
		}
		if desired.NotifyURLHoldsSecret(spec.URL) {
			return errors.New("holds a token or password; put the URL into a file of mode 0600, and set notify.urlFile")
		}
	}
	s.Notices.URLs = values
	return nil
}

func setCommitProvider(s *settings, v string) error {
	for _, known := range forge.Providers() {
		if v == known {
			s.Notices.Commits.Provider = v
			return nil
		}
	}
	return errors.New("is no provider that is known; there are " + strings.Join(forge.Providers(), ", "))
}

func setCommitURL(s *settings, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("is not the URL of an API without a login; for example https://git.acme.com/api/v1")
	}
	s.Notices.Commits.URL = v
	return nil
}

// maxSecretFile bounds a file with URLs or a token.
const maxSecretFile = 64 << 10

// channels are those that the host itself names.
func (n noticeSettings) channels() (list []desired.NotifySpec, err error) {
	secret := ""
	if n.SecretFile != "" {
		if secret, err = readToken(n.SecretFile, 16); err != nil {
			return nil, fmt.Errorf("read notify.secretFile: %w", err)
		}
	}
	add := func(text string) error {
		spec, err := desired.ParseChannel(text)
		if strings.HasPrefix(spec.URL, "generic+") {
			spec.Secret = secret
		}
		list = append(list, spec)
		return err
	}
	for _, u := range n.URLs {
		if err := add(u); err != nil {
			return nil, fmt.Errorf("read notify.urls: %w", err)
		}
	}
	if n.URLFile == "" {
		return list, nil
	}
	text, err := readBounded(n.URLFile, maxSecretFile)
	if err != nil {
		return nil, fmt.Errorf("read notify.urlFile: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n2 := 1; lines.Scan(); n2++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := add(line); err != nil {
			return nil, fmt.Errorf("read notify.urlFile: %s:%d: %w", n.URLFile, n2, err)
		}
	}
	return list, lines.Err()
}

// readToken reads a file with one secret of a least length.
func readToken(name string, least int) (string, error) {
	text, err := readBounded(name, maxSecretFile)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if len(token) < least || strings.ContainsAny(token, "\n\r\x00") {
		return "", fmt.Errorf("%s does not hold one line of at least %d characters", name, least)
	}
	return token, nil
}

// openToOthers says whether others on this host may read a file.
func openToOthers(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().Perm()&0o077 != 0
}
