package hooks

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Delivery is what a webhook is about.
type Delivery struct {
	Provider string
	Event    string // as the provider calls it
	ID       string // of the delivery; the same when it is made again; may be empty
	// Ping asks only whether somebody is here.
	Ping bool
	// Refs are what was pushed: refs/heads/main, refs/tags/v1; empty with Any.
	Refs []string
	// Any says that the sender does not tell which ref.
	Any bool
	// Repos are the names and URLs of the repository; empty: it is not told.
	Repos []string
	// Default is the repository's default branch, where it is told.
	Default string
	// Images are what was pushed to a registry.
	Images []Image
}

// Image is a tag of a repository in a registry.
type Image struct {
	Host       string // may be empty: then it is not told
	Repository string // without the host
	Tag        string // may be empty: then it is not told
}

// The bounds of a payload. GitHub's largest has 2048 commits, which are skipped.
const (
	MaxBody   = 1 << 20
	maxName   = 512
	maxOfKind = 200
)

// ParseGit reads what a git host sent, after Verify.
func ParseGit(provider string, h http.Header, body []byte) (Delivery, error) {
	d := Delivery{Provider: provider}
	parse, known := map[string]func(*Delivery, http.Header, []byte) error{"github": parseGitHub, "gitlab": parseGitLab, "gitea": parseGitea,
		"forgejo": parseGitea, "bitbucket": parseBitbucket, "generic": parseGeneric}[provider]
	if !known {
		return d, fmt.Errorf("%s: %w", provider, ErrUnknown)
	}
	if err := parse(&d, h, body); err != nil {
		return d, fmt.Errorf("read webhook of %s: %w", provider, err)
	}
	return d.bounded(), nil
}

// bounded drops what is longer than any name, and what is more than anybody
// pushes at once.
func (d Delivery) bounded() Delivery {
	tooLong := func(s string) bool { return s == "" || len(s) > maxName || strings.ContainsAny(s, "\x00\n\r") }
	clean := func(list []string) []string {
		list = slices.DeleteFunc(list, tooLong)
		return list[:min(len(list), maxOfKind)]
	}
	d.Refs, d.Repos = clean(d.Refs), clean(d.Repos)
	if tooLong(d.ID) {
		d.ID = ""
	}
	if len(d.Event) > 100 {
		d.Event = d.Event[:100]
	}
	d.Images = slices.DeleteFunc(d.Images, func(i Image) bool { return tooLong(i.Repository) || len(i.Host) > maxName || len(i.Tag) > maxName })
	d.Images = d.Images[:min(len(d.Images), maxOfKind)]
	return d
}

func header(h http.Header, names ...string) string {
	for _, n := range names {
		if v := h.Get(n); v != "" {
			return v
		}
	}
	return ""
}

// repository is what GitHub, Gitea and Forgejo say of one.
type repository struct {
	FullName      string `json:"full_name"`
	CloneURL      string `json:"clone_url"`
	SSHURL        string `json:"ssh_url"`
	HTMLURL       string `json:"html_url"`
	DefaultBranch string `json:"default_branch"`
}

func (d *Delivery) of(r repository) {
	d.Repos, d.Default = []string{r.CloneURL, r.SSHURL, r.HTMLURL, r.FullName}, r.DefaultBranch
}

var errNoJSON = errors.New("it is not the JSON of such an event")

func parseGitHub(d *Delivery, h http.Header, body []byte) error {
	d.Event, d.ID = h.Get("X-GitHub-Event"), h.Get("X-GitHub-Delivery")
	if strings.HasPrefix(h.Get("Content-Type"), "application/x-www-form-urlencoded") {
		values, err := url.ParseQuery(string(body))
		if err != nil {
			return errNoJSON
		}
		body = []byte(values.Get("payload"))
	}
	return d.parseHubLike(body)
}

func parseGitea(d *Delivery, h http.Header, body []byte) error {
	d.Event = header(h, "X-Forgejo-Event", "X-Gitea-Event", "X-GitHub-Event")
	d.ID = header(h, "X-Forgejo-Delivery", "X-Gitea-Delivery", "X-GitHub-Delivery")
	return d.parseHubLike(body)
}

// parseHubLike reads push, create and delete as GitHub made them common. The ref
// of create and delete is a bare name.
func (d *Delivery) parseHubLike(body []byte) error {
	var p struct {
		Ref        string     `json:"ref"`
		RefType    string     `json:"ref_type"`
		Repository repository `json:"repository"`
	}
	if json.Unmarshal(body, &p) != nil {
		return errNoJSON
	}
	d.of(p.Repository)
	switch d.Event {
	case "ping":
		d.Ping = true
	case "push":
		d.Refs = []string{p.Ref}
	case "create", "delete":
		kind := map[string]string{"branch": "refs/heads/", "tag": "refs/tags/"}[p.RefType]
		d.Refs = []string{kind + strings.TrimPrefix(p.Ref, kind)}
	}
	return nil
}

func parseGitLab(d *Delivery, h http.Header, body []byte) error {
	d.ID = header(h, "Idempotency-Key", "X-Gitlab-Event-UUID")
	type project struct {
		Path    string `json:"path_with_namespace"`
		HTTP    string `json:"git_http_url"`
		SSH     string `json:"git_ssh_url"`
		Web     string `json:"web_url"`
		Default string `json:"default_branch"`
	}
	var p struct {
		Kind    string  `json:"object_kind"`
		Event   string  `json:"event_name"`
		Ref     string  `json:"ref"`
		Project project `json:"project"`
	}
	if json.Unmarshal(body, &p) != nil {
		return errNoJSON
	}
	if d.Event = p.Kind; d.Event == "" {
		d.Event = p.Event // of a system hook
	}
	if d.Event == "push" || d.Event == "tag_push" {
		d.Refs = []string{p.Ref}
	}
	d.Repos, d.Default = []string{p.Project.HTTP, p.Project.SSH, p.Project.Web, p.Project.Path}, p.Project.Default
	return nil
}

// parseBitbucket reads what the cloud sends (repo:push) and what a server does
// (repo:refs_changed).
func parseBitbucket(d *Delivery, h http.Header, body []byte) error {
	d.Event, d.ID = h.Get("X-Event-Key"), header(h, "X-Request-UUID", "X-Request-Id")
	if d.Event == "diagnostics:ping" {
		d.Ping = true
		return nil
	}
	type ref struct {
		Type string `json:"type"`
		Name string `json:"name"`
	}
	type link struct {
		Href string `json:"href"`
	}
	var p struct {
		Push struct {
			Changes []struct {
				New *ref `json:"new"`
				Old *ref `json:"old"`
			} `json:"changes"`
		} `json:"push"`
		Changes []struct {
			Ref struct {
				ID string `json:"id"`
			} `json:"ref"`
		} `json:"changes"`
		Repository struct {
			FullName string `json:"full_name"`
			Slug     string `json:"slug"`
			Project  struct {
				Key string `json:"key"`
			} `json:"project"`
			Links struct {
				HTML  link   `json:"html"`
				Clone []link `json:"clone"`
			} `json:"links"`
		} `json:"repository"`
	}
	if json.Unmarshal(body, &p) != nil {
		return errNoJSON
	}
	for _, c := range p.Push.Changes {
		for _, r := range []*ref{c.New, c.Old} {
			if r != nil {
				d.Refs = append(d.Refs, map[string]string{"branch": "refs/heads/", "tag": "refs/tags/"}[r.Type]+r.Name)
				break
			}
		}
	}
	for _, c := range p.Changes {
		d.Refs = append(d.Refs, c.Ref.ID)
	}
	d.Repos = []string{p.Repository.FullName, p.Repository.Links.HTML.Href}
	if p.Repository.Project.Key != "" && p.Repository.FullName == "" {
		d.Repos = append(d.Repos, p.Repository.Project.Key+"/"+p.Repository.Slug)
	}
	for _, l := range p.Repository.Links.Clone {
		d.Repos = append(d.Repos, l.Href)
	}
	return nil
}

// parseGeneric reads {"ref", "repository"}, both of which may be absent, as may
// the body.
func parseGeneric(d *Delivery, h http.Header, body []byte) error {
	d.Event, d.ID = "push", header(h, "X-Fairlead-Delivery", "Idempotency-Key")
	var p struct {
		Ref        string `json:"ref"`
		Repository string `json:"repository"`
	}
	if len(body) > 0 && json.Unmarshal(body, &p) != nil {
		return errNoJSON
	}
	if d.Any = p.Ref == ""; !d.Any {
		d.Refs = []string{p.Ref}
	}
	d.Repos = []string{p.Repository}
	return nil
}

// Follows says why a delivery is nothing for who follows a ref of a repository;
// empty: it is. An unknown ref is the default branch.
func (d Delivery) Follows(repo, ref string) string {
	if len(d.Repos) > 0 && repo != "" && !slices.ContainsFunc(d.Repos, func(r string) bool { return sameRepo(r, repo) }) {
		return "it is about the repository " + d.Repos[0] + ", which is not followed"
	}
	if d.Any {
		return ""
	}
	if len(d.Refs) == 0 {
		return "the event " + d.Event + " pushes nothing"
	}
	want := bare(ref)
	if want == "" {
		want = d.Default
	}
	if want == "" || slices.ContainsFunc(d.Refs, func(r string) bool { return bare(r) == want }) {
		return ""
	}
	return fmt.Sprintf("it is about %s, and %s is followed", d.Refs[0], want)
}

func bare(ref string) string {
	for _, prefix := range []string{"refs/heads/", "refs/tags/"} {
		ref = strings.TrimPrefix(ref, prefix)
	}
	return ref
}

// sameRepo compares the paths: the same repository has one URL for https, another
// for ssh, and may have another within a network.
func sameRepo(a, b string) bool { return repoPath(a) == repoPath(b) }

func repoPath(s string) string {
	if _, rest, is := strings.Cut(s, "://"); is {
		_, s, _ = strings.Cut(rest, "/")
	} else if host, path, is := strings.Cut(s, ":"); is && !strings.Contains(host, "/") {
		s = path
	}
	s = strings.TrimPrefix(strings.Trim(s, "/"), "scm/") // of Bitbucket Server over https
	return strings.ToLower(strings.TrimSuffix(s, ".git"))
}
