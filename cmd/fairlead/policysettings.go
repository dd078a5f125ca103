package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/git"
	"github.com/fairlead/fairlead/reconciler"
)

// policySettings are what this host asks of every revision, whatever the
// repository says. What is nil or false asks for nothing.
type policySettings struct {
	Images     []string
	HostMounts []string
	Privileged *bool
	Signed     bool
	Signers    string // file
}

// nothing is the word for an empty list where one cannot be written.
const nothing = "none"

func policyOptions() []option {
	return []option{
		{flag: "policy-image", env: "FAIRLEAD_POLICY_IMAGES", key: "policy.images", kind: "GLOB", list: true, empty: true, help: "repositories whose images may run on this host, as ghcr.io/acme/*; may be repeated; none: nothing may (default: any)",
			set: policyList(desired.CheckImageGlob, func(s *settings) *[]string { return &s.Policy.Images })},
		{flag: "policy-privileged", env: "FAIRLEAD_POLICY_PRIVILEGED", key: "policy.privileged", kind: "BOOL", help: "may containers be, or become, root on this host? (default true)",
			set: one(func(s *settings, v string) error {
				on, err := boolean(v)
				s.Policy.Privileged = &on
				return err
			})},
		{flag: "policy-host-mount", env: "FAIRLEAD_POLICY_HOST_MOUNTS", key: "policy.hostMounts", kind: "DIR", list: true, empty: true, help: "directory of this host in which what containers mount may lie; may be repeated; none: nothing may (default: any)",
			set: policyList(desired.CheckHostPath, func(s *settings) *[]string { return &s.Policy.HostMounts })},
		{flag: "policy-require-signed-commits", env: "FAIRLEAD_POLICY_REQUIRE_SIGNED_COMMITS", key: "policy.requireSignedCommits", kind: "BOOL", help: "does every revision need a signature of those in policy.allowedSigners? (default false)",
			set: one(func(s *settings, v string) (err error) { s.Policy.Signed, err = boolean(v); return err })},
		{flag: "policy-allowed-signers", env: "FAIRLEAD_POLICY_ALLOWED_SIGNERS", key: "policy.allowedSigners", kind: "FILE", help: "file of this host with the allowed signers, as ssh-keygen reads it", set: file(func(s *settings) *string { return &s.Policy.Signers })},
	}
}

// policyList reads a list that may be empty, which is not the same as none.
func policyList(check func(string) error, field func(*settings) *[]string) func(*settings, []string) error {
	return func(s *settings, values []string) error {
		if len(values) == 1 && values[0] == nothing {
			values = nil
		}
		for _, v := range values {
			if err := check(v); err != nil {
				return err
			}
		}
		*field(s) = append([]string{}, values...)
		return nil
	}
}

// check looks at what the settings say together.
func (p policySettings) check() error {
	switch {
	case p.Signed && p.Signers == "":
		return errors.New("policy.requireSignedCommits needs policy.allowedSigners; name a file of this host that lists whose signatures count")
	case !p.Signed && p.Signers != "":
		return errors.New("policy.allowedSigners stands without policy.requireSignedCommits: true; set it, or remove the file")
	}
	return nil
}

// bounds are those of the host.
func (s settings) bounds() []desired.Bounds {
	p := s.Policy
	if p.Images == nil && p.HostMounts == nil && p.Privileged == nil {
		return nil
	}
	return []desired.Bounds{{Of: "the policy of this host", Images: p.Images, HostMounts: p.HostMounts, Privileged: p.Privileged,
		Private: s.private(), Shared: s.shared()}}
}

// private are the places of this host that give it away: those of the daemon,
// and the engine's socket.
func (s settings) private() []string {
	places := []string{s.Data}
	if socket, ok := strings.CutPrefix(s.DockerHost, "unix://"); ok {
		places = append(places, filepath.Clean(socket))
	}
	return places
}

// shared are the parts of the data directory that are for containers.
func (s settings) shared() []string { return []string{filepath.Join(s.Data, "certs")} }

// real says where paths of this host lead; nil: the engine is on another.
func (s settings) real() func(string) (string, error) {
	if !strings.HasPrefix(s.DockerHost, "unix://") {
		return nil
	}
	return realPath
}

// realPath follows the links of a path of which the end need not be there yet.
func realPath(name string) (string, error) {
	rest := ""
	for at := filepath.Clean(name); ; at = filepath.Dir(at) {
		real, err := filepath.EvalSymlinks(at)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if _, there := os.Lstat(at); there == nil || !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			return "", fmt.Errorf("follow %s: %w", at, err)
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// loadedBy changes whenever a load may give something else although neither the
// revision nor the host's files of the instance changed.
func (s settings) loadedBy() string {
	state := s.keyring().state()
	if info, err := os.Stat(s.Policy.Signers); err == nil && s.Policy.Signers != "" {
		state += fmt.Sprint(" ", info.ModTime().UnixNano(), info.Size())
	}
	return state
}

// hostSigners reads whose signatures count on this host.
func (s settings) hostSigners() (reconciler.HostSigners, error) {
	if !s.Policy.Signed {
		return reconciler.HostSigners{}, nil
	}
	text, err := readBounded(s.Policy.Signers, git.MaxSigners+1)
	if err == nil {
		err = git.CheckSigners(s.Policy.Signers, text)
	}
	if err != nil {
		return reconciler.HostSigners{}, fmt.Errorf("read policy.allowedSigners: %w", err)
	}
	return reconciler.HostSigners{Signed: true, File: s.Policy.Signers, Signers: string(text)}, nil
}

// vouching judges who vouches for revisions.
func vouching(s settings) *reconciler.Vouching {
	return &reconciler.Vouching{Host: s.hostSigners, From: redactURL(s.Repo) + " " + s.Ref,
		By: func(sig desired.Signature, file, signers string) (string, error) {
			list, err := git.ParseSigners(file, []byte(signers))
			if err != nil {
				return "", err
			}
			return list.By(sig)
		}}
}
