package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
)

// Connectors are what operators do with connectors beyond looking at them,
// which the status of an instance is for.
type Connectors interface {
	// Trigger has a connector run now, all tables or those that are named, and
	// returns the number of the run.
	Trigger(ctx context.Context, instance, name string, tables []string) (int64, error)
	// Cancel ends the run that is under way.
	Cancel(instance, name string) error
	// Runs are those that are remembered, newest first.
	Runs(instance, name string, limit int) ([]connectors.Record, error)
	// Log is what a run wrote.
	Log(instance, name string, run int64) (io.ReadCloser, error)
	// Discover lists what the service has.
	Discover(ctx context.Context, instance, name string, limit int) (Discovery, error)
	// Generations are those of the data that are kept, newest first.
	Generations(instance, name string) ([]DataGeneration, error)
	// Rollback attaches an older one until a newer one is published.
	Rollback(ctx context.Context, instance, name string, generation int) error
	// Purge removes the data and the runs of a connector that is wanted no more.
	Purge(ctx context.Context, instance, name string) error
	// Webhook has a connector run soon if its service signed what it sent.
	Webhook(ctx context.Context, instance, name, signature string, body []byte) error
	// Removed are the connectors that are wanted no more and have left something.
	Removed(instance string) []string
}

// Discovery is what a service has.
type Discovery struct {
	Tables []connectors.Discovered `json:"tables"`
	More   bool                    `json:"more,omitempty"` // there are others
}

// DataGeneration is one state of the data of a connector.
type DataGeneration struct {
	Generation int       `json:"generation"`
	Commit     string    `json:"commit,omitempty"`
	At         time.Time `json:"at,omitzero"`
	Tables     int       `json:"tables"`
	Rows       int64     `json:"rows"`
	Bytes      int64     `json:"bytes"`
	Current    bool      `json:"current,omitempty"` // is attached
	Problem    string    `json:"problem,omitempty"` // why it cannot be
}

// RunRequest asks for a run of a connector.
type RunRequest struct {
	Tables []string `json:"tables,omitempty" maxItems:"10000" doc:"none: all"`
}

// RunStarted is the answer to a RunRequest.
type RunStarted struct {
	Run int64 `json:"run"`
}

// DataRollback asks for an older generation of data.
type DataRollback struct {
	Generation int `json:"generation,omitempty" minimum:"0" doc:"0: the one before that which is attached"`
}

// ConnectorList are the connectors of an instance.
type ConnectorList struct {
	Connectors []reconciler.AttachmentStatus `json:"connectors"`
	// Removed are wanted no more; their data is still there.
	Removed []string `json:"removed,omitempty"`
}

// Connectors returns those of an instance.
func (a *API) Connectors(ctx context.Context, instance string) (ConnectorList, error) {
	r, err := a.find(instance)
	if err != nil {
		return ConnectorList{}, err
	}
	s, err := a.status(ctx, r)
	list := ConnectorList{Connectors: orEmpty(s.Attachments)}
	if a.cfg.Connectors != nil {
		list.Removed = a.cfg.Connectors.Removed(instance)
	}
	return list, err
}

// Connector returns one of an instance.
func (a *API) Connector(ctx context.Context, instance, name string) (reconciler.AttachmentStatus, error) {
	list, err := a.Connectors(ctx, instance)
	if err != nil {
		return reconciler.AttachmentStatus{}, err
	}
	var names []string
	for _, c := range list.Connectors {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	err = &Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("find connector %s of %s: there is none", name, instance)}
	if len(names) == 0 {
		return reconciler.AttachmentStatus{}, withHint(err, "the instance has no connectors; docs/connectors.md shows how they are written")
	}
	return reconciler.AttachmentStatus{}, withHint(err, "there are: "+strings.Join(names, ", "))
}

// connector finds one before something is done with it.
func (a *API) connector(ctx context.Context, instance, name string) (Connectors, error) {
	if a.cfg.Connectors == nil {
		return nil, absent("find connector: nobody runs any here")
	}
	_, err := a.Connector(ctx, instance, name)
	return a.cfg.Connectors, err
}

// RunConnector has one run now.
func (a *API) RunConnector(ctx context.Context, instance, name string, req RunRequest) (RunStarted, error) {
	c, err := a.connector(ctx, instance, name)
	if err != nil {
		return RunStarted{}, err
	}
	if err := a.attended("run connector " + name); err != nil {
		return RunStarted{}, err
	}
	id, err := c.Trigger(ctx, instance, name, req.Tables)
	if err != nil {
		return RunStarted{}, conflict(err)
	}
	return RunStarted{id}, nil
}

// attended refuses what only a daemon can do, or knows.
func (a *API) attended(doing string) error {
	if !a.cfg.Alone {
		return nil
	}
	return withHint(&Error{Status: http.StatusConflict, Detail: doing + ": no daemon runs"}, "start the daemon (fairlead run); it runs connectors")
}

// CancelConnector ends the run that is under way.
func (a *API) CancelConnector(ctx context.Context, instance, name string) (reconciler.AttachmentStatus, error) {
	c, err := a.connector(ctx, instance, name)
	if err == nil {
		err = c.Cancel(instance, name)
	}
	if err != nil {
		return reconciler.AttachmentStatus{}, conflict(err)
	}
	return a.Connector(ctx, instance, name)
}

// ConnectorRuns are the runs of one that are remembered, newest first.
func (a *API) ConnectorRuns(ctx context.Context, instance, name string, limit int) ([]connectors.Record, error) {
	c, err := a.connector(ctx, instance, name)
	if err == nil {
		err = a.attended("list runs of " + name)
	}
	if err != nil {
		return nil, err
	}
	list, err := c.Runs(instance, name, limit)
	return orEmpty(list), err
}

// ConnectorLog writes what a run wrote; run 0 is the newest.
func (a *API) ConnectorLog(ctx context.Context, instance, name string, run int64, w io.Writer) error {
	c, err := a.connector(ctx, instance, name)
	if err == nil {
		err = a.attended("read log of " + name)
	}
	if err != nil {
		return err
	}
	if run == 0 {
		list, err := c.Runs(instance, name, 1)
		if err != nil || len(list) == 0 {
			return errors.Join(err, &Error{Status: http.StatusNotFound, Detail: "find run of " + name + ": it has not run yet"})
		}
		run = list[0].ID
	}
	log, err := c.Log(instance, name, run)
	if err != nil {
		return conflict(err)
	}
	defer log.Close()
	_, err = io.Copy(w, log)
	return err
}

// DiscoverTables lists what the service of a connector has.
func (a *API) DiscoverTables(ctx context.Context, instance, name string, limit int) (Discovery, error) {
	c, err := a.connector(ctx, instance, name)
	if err != nil {
		return Discovery{}, err
	}
	found, err := c.Discover(ctx, instance, name, limit)
	if err != nil {
		return found, withHint(invalid(err), connectors.Hint(err))
	}
	found.Tables = orEmpty(found.Tables)
	return found, nil
}

// DataGenerations are the generations of a connector's data that are kept.
func (a *API) DataGenerations(ctx context.Context, instance, name string) ([]DataGeneration, error) {
	c, err := a.connector(ctx, instance, name)
	if err != nil {
		return nil, err
	}
	list, err := c.Generations(instance, name)
	return orEmpty(list), err
}

// RollbackData attaches an older generation of a connector's data; 0 is the one
// before that which is attached.
func (a *API) RollbackData(ctx context.Context, instance, name string, generation int) (reconciler.AttachmentStatus, error) {
	c, err := a.connector(ctx, instance, name)
	if err != nil {
		return reconciler.AttachmentStatus{}, err
	}
	if generation == 0 {
		if generation, err = beforeCurrent(c, instance, name); err != nil {
			return reconciler.AttachmentStatus{}, err
		}
	}
	if err := c.Rollback(ctx, instance, name, generation); err != nil {
		return reconciler.AttachmentStatus{}, invalid(err)
	}
	return a.Connector(ctx, instance, name)
}

func beforeCurrent(c Connectors, instance, name string) (int, error) {
	list, err := c.Generations(instance, name)
	if err != nil {
		return 0, err
	}
	after := false
	for _, g := range list {
		if after && g.Problem == "" {
			return g.Generation, nil
		}
		after = after || g.Current
	}
	return 0, invalid(withHint(fmt.Errorf("roll back data of %s: there is none before what is attached", name),
		"GET "+of(instance, "connectors/"+url.PathEscape(name)+"/generations", nil)+" (fairlead connector generations "+name+") lists what is kept"))
}

// PurgeConnector removes the data and the runs of a connector that is wanted no
// more.
func (a *API) PurgeConnector(ctx context.Context, instance, name string) error {
	if _, err := a.find(instance); err != nil {
		return err
	}
	if a.cfg.Connectors == nil {
		return absent("purge connector: nobody runs any here")
	}
	if err := a.cfg.Connectors.Purge(ctx, instance, name); err != nil {
		return conflict(err)
	}
	return nil
}

// conflict answers what cannot be done now with 409, and what names something
// that is not there with 404.
func conflict(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	status, hint := http.StatusConflict, connectors.Hint(err)
	switch {
	case errors.Is(err, connectors.ErrUnknownRun):
		status, hint = http.StatusNotFound, "fairlead connector runs (GET …/runs) lists the runs; one that has only just begun has no log yet"
	case errors.Is(err, connectors.ErrUnknownSource), errors.Is(err, connectors.ErrUnknownTable):
		status = http.StatusNotFound
	}
	return withHint(&Error{Status: status, Detail: err.Error(), cause: err}, hint)
}
