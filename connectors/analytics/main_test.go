package analytics

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/duck"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
	"github.com/fairlead/fairlead/desired"
)

// The test binary is its own child, as the program is: "duck" is the real one,
// "plain" speaks wire and keeps texts where DuckDB has Parquet, "store" writes to a store and may
// not live to its end.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		var err error
		switch os.Args[1] {
		case "plain":
			err = plainChild(os.Args[2])
		case "duck":
			err = duck.Main(context.Background(), os.Args[2], os.Stdin, os.Stdout, os.Stderr)
		case "store":
			err = storeChild(os.Args[2:])
		default:
			os.Exit(m.Run())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	must(t, err)
	return path
}

func plainChild(mode string) error {
	switch mode {
	case wire.Worker:
		return plainWorker()
	case wire.Build:
		var request wire.BuildRequest
		if err := readReply(os.Stdin, &request); err != nil {
			return err
		}
		reply, err := plainBuild(context.Background(), request)
		if err != nil {
			return err
		}
		return wire.WriteMessage(os.Stdout, reply)
	case wire.Export:
		var request wire.ExportRequest
		if err := readReply(os.Stdin, &request); err != nil {
			return err
		}
		data, _ := json.Marshal(request)
		err := errors.Join(os.WriteFile(request.To, data, 0o600), os.WriteFile(filepath.Join(filepath.Dir(request.To), exportScript), []byte("-- attach"), 0o600))
		return errors.Join(err, wire.WriteMessage(os.Stdout, wire.BuildReply{}))
	case wire.Check:
		var request wire.CheckRequest
		if err := readReply(os.Stdin, &request); err != nil {
			return err
		}
		if strings.HasSuffix(request.Path, "hangs") {
			select {}
		}
		return wire.WriteMessage(os.Stdout, wire.CheckReply{Form: "simple"})
	}
	return fmt.Errorf("mode %q", mode)
}

// plainBuild makes a table of each file of a run. What is not there any more is
// linked from the generation before.
func plainBuild(_ context.Context, r wire.BuildRequest) (reply wire.BuildReply, err error) {
	m := &connectors.Manifest{Remotes: r.From.Remotes}
	if err := os.Mkdir(filepath.Join(r.To, dataDir), 0o750); err != nil {
		return reply, err
	}
	entries, err := os.ReadDir(r.From.Dir)
	if err != nil {
		return reply, err
	}
	there := map[string]bool{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(r.From.Dir, e.Name()))
		if err != nil {
			return reply, err
		}
		if string(data) == "bad" {
			reply.Problems = append(reply.Problems, connectors.Problem{Code: "Bad", File: e.Name()})
			continue
		}
		there[e.Name()] = true
		path := dataDir + "/" + e.Name() + ".parquet"
		if err := os.WriteFile(filepath.Join(r.To, path), data, 0o640); err != nil {
			return reply, err
		}
		m.Tables = append(m.Tables, plainTable(e.Name(), path, int64(len(data))))
	}
	if r.Before != nil && len(r.From.Only) > 0 {
		for _, t := range r.Before.Tables {
			if there[t.Name] {
				continue
			}
			for _, f := range t.Files {
				if err := os.Link(filepath.Join(r.BeforeDir, f.Path), filepath.Join(r.To, f.Path)); err != nil {
					return reply, err
				}
			}
			m.Tables = append(m.Tables, t)
		}
	}
	if len(m.Tables) > 0 {
		reply.Manifest = m
		err = os.WriteFile(filepath.Join(r.To, extractFile), []byte("not a database"), 0o640)
	}
	return reply, err
}

func plainTable(name, path string, size int64) connectors.ManifestTable {
	return connectors.ManifestTable{Name: name, QueryMode: desired.QueryLocal, Rows: 1, Bytes: size,
		Columns: []connectors.Column{{Name: "v", Type: "VARCHAR"}}, Files: []connectors.ManifestFile{{Path: path}}}
}

// plain is a worker.
type plain struct {
	setup  wire.Setup
	have   map[string]wire.Source
	flat   map[string]string
	system map[string]string
	down   map[string]string // remotes
}

func plainWorker() error {
	p := &plain{have: map[string]wire.Source{}, flat: map[string]string{}, system: map[string]string{}}
	if err := readReply(os.Stdin, &p.setup); err != nil {
		return err
	}
	ready := wire.Ready{Version: "plain", Remotes: map[string]string{}}
	for _, r := range p.setup.Remotes {
		if _, err := os.Stat(r.URL); err != nil {
			ready.Remotes[r.Alias] = "no route to host"
		}
	}
	p.down = ready.Remotes
	if err := wire.WriteMessage(os.Stdout, wire.Reply{Ready: &ready}); err != nil {
		return err
	}
	for {
		var request wire.Request
		if err := readReply(os.Stdin, &request); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		reply := wire.Reply{ID: request.ID}
		switch {
		case request.Attach != nil:
			reply.Attach = p.attach(*request.Attach)
		case request.Query != nil:
			p.query(request.Query, &reply)
		case request.Profile != nil:
			reply.Profile = json.RawMessage(`{"rows":1}`)
		}
		if err := wire.WriteMessage(os.Stdout, reply); err != nil {
			return err
		}
	}
}

func (p *plain) attach(a wire.Attach) *wire.AttachReply {
	reply := &wire.AttachReply{Have: map[string]int{}, Failed: map[string]string{}}
	for _, s := range a.Sources {
		text, err := p.read(s, s.Tables[0].Name)
		switch {
		case text == "poison":
			err = errors.New("it is poison")
		case text == "kills":
			panic("it kills")
		}
		if err != nil {
			reply.Failed[s.Name] = err.Error()
			continue
		}
		p.have[s.Name] = s
		if text == "remote" && len(p.down) > 0 { // the rest of it is there
			reply.Failed[s.Name] = "table people: no route to host"
		}
	}
	for _, name := range a.Detach {
		delete(p.have, name)
	}
	for name, to := range a.Flat {
		if p.flat[name] = to; to == "" {
			delete(p.flat, name)
		}
	}
	for _, t := range a.System {
		data, err := os.ReadFile(t.File)
		if err != nil {
			reply.Failed[systemSchema] = err.Error()
		}
		p.system[t.Name] = string(data)
	}
	for name, s := range p.have {
		reply.Have[name] = s.Generation
	}
	return reply
}

func (p *plain) read(s wire.Source, table string) (string, error) {
	i := slices.IndexFunc(s.Tables, func(t connectors.ManifestTable) bool { return t.Name == table })
	if i < 0 {
		return "", fmt.Errorf("no table %s", table)
	}
	data, err := os.ReadFile(filepath.Join(s.Dir, s.Tables[i].Files[0].Path))
	if err == nil && (len(data) == 0 || bytes.HasPrefix(data, []byte("garbage"))) {
		err = errors.New("no magic bytes")
	}
	return string(data), err
}

// query understands: read NAME, sleep DURATION, hang, crash, fatal, refuse,
// big BYTES, system NAME, version (of the worker's process).
func (p *plain) query(q *wire.Query, reply *wire.Reply) {
	sql, _, _ := strings.Cut(q.SQL, " --")
	verb, rest, _ := strings.Cut(sql, " ")
	text := ""
	var err error
	switch verb {
	case "read":
		if p.flat[rest] != "" {
			rest = p.flat[rest]
		}
		source, table, _ := strings.Cut(rest, ".")
		if _, there := p.have[source]; !there {
			reply.Error = &wire.Error{Code: wire.CodeNotFound, Message: "no source " + source}
			return
		}
		text, err = p.read(p.have[source], table)
	case "sleep":
		d, _ := time.ParseDuration(rest)
		<-time.After(d) // as a query that takes its time
	case "hang":
		signal.Ignore(syscall.SIGTERM)
		select {}
	case "crash":
		panic("a bug")
	case "suicide":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // it arrives
	case "fatal":
		reply.Error = &wire.Error{Code: wire.CodeFatal, Message: "database has been invalidated"}
		return
	case "refuse":
		reply.Error = &wire.Error{Code: wire.CodeRefused, Message: "not a SELECT"}
		return
	case "big":
		n, _ := strconv.Atoi(rest)
		piece := bytes.Repeat([]byte("x"), 64<<10)
		for ; n > 0; n -= len(piece) {
			_ = wire.WriteFrame(os.Stdout, wire.Data, piece[:min(n, len(piece))])
		}
	case "system":
		text = p.system[rest]
	case "pid":
		text = strconv.Itoa(os.Getpid())
	case "token":
		text = p.setup.Tokens[rest]
	}
	if err != nil {
		reply.Error = &wire.Error{Code: wire.CodeFailed, Message: err.Error()}
		return
	}
	_ = wire.WriteMessage(os.Stdout, wire.Reply{ID: reply.ID, Head: &wire.Head{Columns: []connectors.Column{{Name: "v", Type: "VARCHAR"}}}})
	if text != "" {
		_ = wire.WriteFrame(os.Stdout, wire.Data, []byte(text))
	}
	reply.Tail = &wire.Tail{Rows: 1, Bytes: int64(len(text))}
}
