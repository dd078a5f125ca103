package bigquery

import (
	"context"
	"fmt"
	"net/url"

	"github.com/fairlead/fairlead/connectors"
	"golang.org/x/sync/errgroup"
)

const (
	maxTables = 100_000
	asking    = 8 // tables at a time
)

// Discover lists the tables of the project's datasets, with what each is.
func (s *Source) Discover(ctx context.Context, limit int) ([]connectors.Discovered, bool, error) {
	defer s.close()
	if limit <= 0 || limit > maxTables {
		limit = maxTables
	}
	refs, err := s.references(ctx, limit+1)
	if err != nil {
		return nil, false, err
	}
	more := len(refs) > limit
	refs = refs[:min(len(refs), limit)]
	tables := make([]table, len(refs))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(asking)
	for i, ref := range refs {
		group.Go(func() error {
			if err := s.get(within, ref.path(), nil, &tables[i]); err != nil {
				return fmt.Errorf("find table %s.%s: %w", ref.Dataset, ref.Table, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, false, err
	}
	found, taken := make([]connectors.Discovered, 0, len(tables)), map[string]bool{}
	for i, t := range tables {
		found = append(found, t.discovered(refs[i], taken))
	}
	return found, more, nil
}

func (t table) discovered(ref reference, taken map[string]bool) connectors.Discovered {
	d := connectors.Discovered{ID: ref.Dataset + "." + ref.Table, Name: connectors.Propose(taken, ref.Table, ref.Dataset+"_"+ref.Table),
		Description: t.Description, Columns: t.Schema.plain(), PrimaryKey: t.Constraints.PrimaryKey.Columns}
	if t.stored() && t.Rows != nil {
		n := int64(*t.Rows)
		d.Rows = &n
	}
	if t.stored() && t.Bytes != nil {
		n := int64(*t.Bytes)
		d.Bytes = &n
	}
	return d
}

// references lists at most so many tables, dataset by dataset.
func (s *Source) references(ctx context.Context, most int) (out []reference, err error) {
	datasets, err := s.datasets(ctx)
	if err != nil {
		return nil, err
	}
	for _, dataset := range datasets {
		err := paged(ctx, func(token string) (string, error) {
			var page struct {
				Next   string `json:"nextPageToken"`
				Tables []struct {
					Reference reference `json:"tableReference"`
				} `json:"tables"`
			}
			query := url.Values{"maxResults": {"1000"}}
			if token != "" {
				query.Set("pageToken", token)
			}
			if err := s.get(ctx, "projects/"+s.settings.Project+"/datasets/"+dataset+"/tables", query, &page); err != nil {
				return "", err
			}
			for _, t := range page.Tables {
				if ref := (reference{s.settings.Project, dataset, t.Reference.Table}); validTable(ref.Table) && len(out) < most {
					out = append(out, ref)
				}
			}
			if len(out) >= most {
				return "", nil
			}
			return page.Next, nil
		})
		if err != nil {
			return nil, fmt.Errorf("list tables of %s: %w", dataset, err)
		}
		if len(out) >= most {
			break
		}
	}
	return out, nil
}

func (s *Source) datasets(ctx context.Context) (out []string, err error) {
	err = paged(ctx, func(token string) (string, error) {
		var page struct {
			Next     string `json:"nextPageToken"`
			Datasets []struct {
				Reference struct {
					Dataset string `json:"datasetId"`
				} `json:"datasetReference"`
			} `json:"datasets"`
		}
		query := url.Values{"maxResults": {"1000"}}
		if token != "" {
			query.Set("pageToken", token)
		}
		if err := s.get(ctx, "projects/"+s.settings.Project+"/datasets", query, &page); err != nil {
			return "", err
		}
		for _, d := range page.Datasets {
			if word(d.Reference.Dataset, "-") {
				out = append(out, d.Reference.Dataset)
			}
		}
		return page.Next, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list datasets: %w", err)
	}
	return out, nil
}
