package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/release"
)

const (
	tagsLast    = time.Minute // one list for the references of a repository
	retiredLast = time.Hour
	pageSize    = 1000
	maxPages    = 20
	maxTags     = 20_000
	maxCatalogs = 200
)

// catalogs are the lists of tags, by repository.
type catalogs struct {
	mu  sync.Mutex
	all map[string]*catalog
}

type catalog struct {
	turn    chan struct{} // one question at a time
	tags    []string
	err     error
	at      time.Time
	retired map[string]retiredTag
}

type retiredTag struct {
	digest string
	at     time.Time
}

func (cs *catalogs) get(repo string) *catalog {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c, ok := cs.all[repo]; ok {
		return c
	}
	if cs.all == nil || len(cs.all) >= maxCatalogs {
		cs.all = map[string]*catalog{}
	}
	c := &catalog{turn: make(chan struct{}, 1), retired: map[string]retiredTag{}}
	cs.all[repo] = c
	return c
}

func (c *catalog) enter(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tags lists the tags of a repository, as many as a bounded number of pages has.
func (c *Client) tags(ctx context.Context, repo name.Repository) ([]string, error) {
	cat := c.catalogs.get(repo.Name())
	if err := cat.enter(ctx); err != nil {
		return nil, err
	}
	defer func() { <-cat.turn }()
	if !cat.at.IsZero() && time.Since(cat.at) < tagsLast {
		return cat.tags, cat.err
	}
	tags, err := c.listTags(ctx, endpoint{repo: repo})
	if ctx.Err() != nil && err != nil {
		return nil, err // the next one may have more time
	}
	cat.tags, cat.err, cat.at = tags, err, time.Now()
	return tags, err
}

func (c *Client) listTags(ctx context.Context, end endpoint) ([]string, error) {
	var all []string
	query := "n=" + strconv.Itoa(pageSize)
	seen := map[string]bool{}
	for range maxPages {
		seen[query] = true
		r, err := c.ask(ctx, end, http.MethodGet, "tags/list?"+query, []string{"application/json"}, "")
		if err != nil {
			return nil, err
		}
		var page struct{ Tags []string }
		if err := json.Unmarshal(r.body, &page); err != nil {
			return nil, broken("%s answers with a list of tags that is none", end.repo.RegistryStr())
		}
		all = append(all, page.Tags...)
		query = nextPage(r.header.Get("Link"))
		if query == "" || seen[query] || len(all) >= maxTags {
			break
		}
	}
	return all[:min(len(all), maxTags)], nil
}

// nextPage is the query of the next page in a Link header (RFC 8288). Host and
// path are ours, whatever it says: no registry sends the question elsewhere.
func nextPage(link string) string {
	if len(link) > 4096 {
		return ""
	}
	for link != "" {
		_, rest, ok := strings.Cut(link, "<")
		target, rest, closed := strings.Cut(rest, ">")
		if !ok || !closed {
			return ""
		}
		params, more, _ := strings.Cut(rest, ",")
		link = more
		if !isNext(params) {
			continue
		}
		u, err := url.Parse(target)
		if err != nil {
			return ""
		}
		return u.Query().Encode()
	}
	return ""
}

func isNext(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(key), "rel") && strings.EqualFold(strings.Trim(strings.TrimSpace(value), `"`), "next") {
			return true
		}
	}
	return false
}

// retiredDigest is the digest of a deprecated tag. They hardly ever move.
func (c *Client) retiredDigest(ctx context.Context, repo name.Repository, tag string) (string, error) {
	cat := c.catalogs.get(repo.Name())
	if err := cat.enter(ctx); err != nil {
		return "", err
	}
	defer func() { <-cat.turn }()
	if had, ok := cat.retired[tag]; ok && time.Since(had.at) < retiredLast {
		return had.digest, nil
	}
	digest, err := c.digestOf(ctx, repo, tag)
	if err != nil {
		return "", err
	}
	if len(cat.retired) > 10*maxRetiredHeads {
		clear(cat.retired)
	}
	cat.retired[tag] = retiredTag{digest, time.Now()}
	return digest, nil
}

// explain adds, to a tag that is not there, the tags that look like it.
func (c *Client) explain(ctx context.Context, tag name.Tag, before, err error) error {
	if !isMissing(err) {
		return err
	}
	if isMissing(before) {
		return before // it was said, and is looked up once
	}
	hint := "; check the name, or push it"
	if tags, listErr := c.tags(ctx, tag.Repository); listErr == nil && len(tags) > 0 {
		hint = "; there are " + strings.Join(similar(tag.TagStr(), tags), ", ")
	}
	return &failure{kind: kindMissing, text: tag.RegistryStr() + " has no tag " + tag.TagStr() + " in " + tag.RepositoryStr() + hint}
}

// similar are the few tags nearest to one that is not there; of equally near
// ones the newest version.
func similar(want string, tags []string) []string {
	type near struct {
		tag     string
		far     int
		version release.Version
	}
	list := make([]near, 0, len(tags))
	for _, name := range tags {
		t, err := release.ParseTag(name)
		if err != nil {
			continue
		}
		far := desired.Distance(strings.ToLower(want), strings.ToLower(name))
		if strings.HasPrefix(name, want) || strings.HasPrefix(want, name) {
			far = min(far, 2)
		}
		list = append(list, near{name, far, t.Version})
	}
	slices.SortFunc(list, func(a, b near) int {
		return cmp.Or(cmp.Compare(a.far, b.far), b.version.Compare(a.version), cmp.Compare(a.tag, b.tag))
	})
	var names []string
	for _, n := range list[:min(len(list), 3)] {
		names = append(names, n.tag)
	}
	return names
}
