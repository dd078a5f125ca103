package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/google"
	"github.com/fairlead/fairlead/connectors/internal/rest"
	"github.com/fairlead/fairlead/desired"
)

// gs reads buckets of Google Cloud Storage by its JSON API.
type gs struct {
	*Source
	http   *rest.Client
	base   *url.URL
	own    bool           // base is not Google's
	tokens *google.Tokens // nil: nobody in particular asks, as emulators have it
}

func (s *Source) openGS() (*gs, error) {
	set := desired.GSAccess{}
	if s.settings.GS != nil {
		set = *s.settings.GS
	}
	out := &gs{Source: s, http: s.cloud, base: &url.URL{Scheme: "https", Host: "storage.googleapis.com"}}
	if set.Endpoint != "" {
		base, err := rest.Base(set.Endpoint)
		if err != nil {
			return nil, fmt.Errorf("gs.endpoint: %w", err)
		}
		out.base, out.http, out.own = base, s.web, true
		if set.Key == "" {
			return out, nil // the machine's token is for Google alone
		}
	}
	var err error
	if out.tokens, err = s.tokens(set.Key); err != nil {
		return nil, fmt.Errorf("gs.%w", err)
	}
	return out, nil
}

// ask makes a request; what it is refused with is in do.
func (g *gs) ask(path string, query url.Values, change func(*http.Request)) func(context.Context) (*http.Request, error) {
	return func(ctx context.Context) (*http.Request, error) {
		if g.own {
			if err := g.settings.AllowHost(g.base.Hostname(), netip.Addr{}); err != nil {
				return nil, fmt.Errorf("host %s: %w", g.base.Hostname(), err)
			}
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.base.String()+"/storage/v1/b/"+path+"?"+query.Encode(), nil)
		if err != nil {
			return nil, errors.New("the name makes no address")
		}
		if change != nil {
			change(req)
		}
		if g.tokens != nil {
			err = g.tokens.Sign(ctx, req)
		}
		return req, err
	}
}

// fresh asks, and once more with a new token when the one that was kept is not
// taken.
func (g *gs) fresh(do func() error) error {
	err := do()
	if rest.Code(err) == http.StatusUnauthorized && g.tokens != nil {
		g.tokens.DropAll()
		err = do()
	}
	return err
}

// count is a whole number that JSON of Google's has as text.
type count int64

func (c *count) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseInt(strings.Trim(string(text), `"`), 10, 64)
	*c = count(n)
	return err
}

type gsListing struct {
	Next  string `json:"nextPageToken"`
	Items []struct {
		Name       string    `json:"name"`
		Size       count     `json:"size"`
		Generation count     `json:"generation"`
		Updated    time.Time `json:"updated"`
	} `json:"items"`
}

func (g *gs) list(ctx context.Context, p place, each func(object) error) error {
	query := url.Values{"prefix": {prefix(p.pattern)}, "maxResults": {"1000"}, "fields": {"nextPageToken,items(name,size,generation,updated)"}}
	if !p.glob() {
		query.Set("prefix", p.pattern)
		query.Set("maxResults", "1") // the name itself comes before all that it begins
	}
	for last := ""; ; {
		var page gsListing
		err := g.fresh(func() error {
			return g.http.Do(ctx, g.ask(url.PathEscape(p.bucket)+"/o", query, nil), func(answer *http.Response) error {
				page = gsListing{}
				return rest.JSON(&page, maxPage)(answer)
			})
		})
		if err != nil {
			return fmt.Errorf("list gs://%s: %w", p.bucket, g.advise(err))
		}
		found, err := page.each(p, each)
		if err != nil || found || !p.glob() {
			return missing(found, p, err)
		}
		if page.Next == "" {
			return nil
		}
		if page.Next == last {
			return fmt.Errorf("list gs://%s: the list does not go on", p.bucket)
		}
		last = page.Next
		query.Set("pageToken", last)
	}
}

func (l gsListing) each(p place, each func(object) error) (found bool, err error) {
	for _, c := range l.Items {
		if p.glob() && !match(p.pattern, c.Name) || !p.glob() && c.Name != p.pattern || strings.HasSuffix(c.Name, "/") {
			continue
		}
		o := object{place: p, name: c.Name, shown: "gs://" + p.bucket + "/" + c.Name, size: int64(c.Size), tag: strconv.FormatInt(int64(c.Generation), 10),
			exact: c.Generation != 0, modified: c.Updated}
		if c.Generation == 0 {
			o.tag = ""
		}
		if err := each(o); err != nil {
			return false, err
		}
		found = !p.glob()
	}
	return found, nil
}

func (g *gs) open(ctx context.Context, o *object, offset int64) (io.ReadCloser, error) {
	query := url.Values{"alt": {"media"}}
	if o.exact {
		query.Set("generation", o.tag)
	}
	var answer *http.Response
	err := g.fresh(func() (err error) {
		answer, err = g.http.Open(ctx, g.ask(url.PathEscape(o.place.bucket)+"/o/"+url.PathEscape(o.name), query, func(req *http.Request) {
			// without it an object with Content-Encoding: gzip is unpacked on its way,
			// and has another size
			req.Header.Set("Accept-Encoding", "gzip")
			if offset > 0 {
				resume(req, offset)
			}
		}))
		return err
	})
	switch {
	case err != nil && rest.Code(err) == http.StatusNotFound:
		return nil, errChanged // it was in the list
	case err != nil:
		return nil, g.advise(err)
	case offset > 0:
		return middle(answer, o, offset)
	}
	return answer.Body, nil
}

func (g *gs) advise(err error) error {
	if connectors.Hint(err) != "" {
		return err
	}
	who := "whoever may"
	if g.tokens != nil {
		who = g.tokens.Who()
	}
	switch rest.Code(err) {
	case http.StatusUnauthorized, http.StatusForbidden:
		return connectors.WithHint(err, "Grant roles/storage.objectViewer on the bucket to "+who)
	case http.StatusNotFound:
		return connectors.WithHint(err, "There is no such bucket: see that its name is right, and that "+who+" may see it")
	}
	return advise(err)
}
