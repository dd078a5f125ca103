package analytics

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

const (
	exportFile   = "server.duckdb"
	exportScript = "attach.sql"
	exportLimit  = 5 * time.Minute
	exportTries  = 3
)

// exporter makes the database file for other readers anew when what is attached
// has been the same for a while. Nothing is served from that file.
type exporter struct {
	mu      sync.Mutex
	wanted  bool // somebody has asked since the last time
	running bool
}

// later asks for an export after the quiet time; asking again starts that anew.
func (e *exporter) later(i *instance) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.wanted = true; e.running {
		return
	}
	e.running = i.a.spawn(func() { e.run(i) })
}

func (e *exporter) run(i *instance) {
	for tries := 0; ; {
		timer := time.NewTimer(i.a.o.ExportAfter << tries)
		select {
		case <-timer.C:
		case <-i.a.ctx.Done():
			timer.Stop()
			return
		}
		e.mu.Lock()
		e.wanted = false
		e.mu.Unlock()
		err := i.exportNow(i.a.ctx)
		if tries++; err == nil {
			tries = 0
		}
		e.mu.Lock()
		if !e.wanted && (err == nil || tries >= exportTries) {
			e.running = false
			e.mu.Unlock()
			if err != nil && i.a.ctx.Err() == nil {
				i.a.event(i.name, "", "NotExported", err.Error(), "queries are not touched; "+exportFile+" is of an earlier state")
			}
			return
		}
		tries = min(tries, exportTries-1)
		e.mu.Unlock()
	}
}

// exportNow has a child write the database of what is attached, and puts it into
// its place. What it leads to is remembered first, so that it stays.
func (i *instance) exportNow(ctx context.Context) error {
	i.change.Lock()
	c := i.catalog()
	request := wire.ExportRequest{Flat: c.flat}
	leads := map[string]int{}
	for _, source := range slices.Sorted(maps.Keys(c.sources)) {
		leads[source] = c.sources[source].number
		request.Sources = append(request.Sources, c.sources[source].wireSource(source))
	}
	i.change.Unlock()
	if len(leads) == 0 && !exists(i.path(analyticsDir, exportFile)) {
		return nil
	}
	dir := i.path(analyticsDir, childrenDir, "export")
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer os.RemoveAll(dir)
	request.To = filepath.Join(dir, exportFile)
	ctx, cancel := context.WithTimeout(ctx, exportLimit)
	defer cancel()
	var reply wire.BuildReply
	if err := i.a.once(ctx, wire.Export, filepath.Join(dir, "child"), i.a.o.MaxData, request, &reply); err != nil {
		return err
	}
	if reply.Error != "" {
		return fmt.Errorf("export: %s", reply.Error)
	}
	return i.publishExport(dir, leads)
}

// publishExport holds what the new file leads to before it can be read, and lets
// go of what the old one led to once that is gone.
func (i *instance) publishExport(dir string, leads map[string]int) error {
	i.change.Lock()
	defer i.change.Unlock()
	for source, n := range leads {
		if s := i.stores[source]; s == nil || s.get(n) == nil {
			return fmt.Errorf("export: generation %d of %s is gone already", n, source)
		}
	}
	for _, name := range []string{exportFile, exportScript} {
		from := filepath.Join(dir, name)
		if err := syncFile(from); err != nil {
			return fmt.Errorf("export: %w", err)
		}
		if err := os.Rename(from, i.path(analyticsDir, name)); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	i.state.Exported = leads
	i.writeState()
	return syncDir(i.path(analyticsDir))
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
