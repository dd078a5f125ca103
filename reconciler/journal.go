package reconciler

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Step is a kind of journal entry.
type Step string

// The steps of an apply, in their order.
const (
	StepBegin  Step = "begin"  // images are here; nothing was touched yet
	StepAction Step = "action" // this action starts now
	StepVerify Step = "verify" // all actions are done; the checks start
	StepUndo   Step = "undo"   // it failed; the way back to Previous starts
	StepCommit Step = "commit" // it stands; what was set aside may go
)

// Entry is a line of the journal.
type Entry struct {
	At         time.Time `json:"at"`
	Step       Step      `json:"step"`
	Generation int       `json:"generation,omitempty"`
	Previous   int       `json:"previous,omitempty"`
	Kind       string    `json:"kind,omitempty"`    // deploy, heal, rollback
	Attempt    int       `json:"attempt,omitempty"` // how often this generation was begun
	Touched    []string  `json:"touched,omitempty"` // services of the plan, at begin
	Action     string    `json:"action,omitempty"`  // "replace container acme-app-1"
	Reason     string    `json:"reason,omitempty"`
}

// journal is the write-ahead record of the apply in progress of one instance.
// It names objects, never their content. The file is there exactly while an
// apply is not settled.
type journal struct {
	path string
	mu   sync.Mutex
	file *os.File
}

// maxJournal bounds what is read back; a plan of 1,000 containers takes 150 KiB.
const maxJournal = 16 << 20

func newJournal(dir, instance string) *journal {
	return &journal{path: filepath.Join(dir, instance)}
}

// write appends an entry and returns once it is on disk.
func (j *journal) write(e Entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.open(); err != nil {
		return err
	}
	e.At = time.Now().UTC()
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	return nil
}

func (j *journal) open() error {
	if j.file != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(j.path), 0o700); err != nil {
		return fmt.Errorf("make journal directory: %w", err)
	}
	f, err := os.OpenFile(j.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	if err := endLine(f); err != nil {
		return errors.Join(err, f.Close())
	}
	j.file = f
	return syncDir(filepath.Dir(j.path))
}

// endLine completes a line that a crash cut off, so that the next entry stands
// on a line of its own.
func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	if last[0] != '\n' {
		_, err = f.Write([]byte{'\n'})
	}
	return err
}

// clear ends the apply: the file goes.
func (j *journal) clear() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file != nil {
		_ = j.file.Close()
		j.file = nil
	}
	if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear journal: %w", err)
	}
	return syncDir(filepath.Dir(j.path))
}

// read returns the entries of an apply that was not settled; none when there
// is no journal. A line that a crash cut off is passed over: its step was
// never begun.
func (j *journal) read() ([]Entry, error) {
	f, err := os.Open(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	defer f.Close()
	return parseJournal(io.LimitReader(f, maxJournal))
}

func parseJournal(r io.Reader) (entries []Entry, err error) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		var e Entry
		if json.Unmarshal(line, &e) == nil && e.Step != "" {
			entries = append(entries, e)
		}
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return entries, fmt.Errorf("read journal: %w", err)
		}
	}
}

// interrupted is what a journal says about an apply that did not end.
type interrupted struct {
	Generation, Previous, Attempt int
	Kind                          string
	Committed, Undoing            bool
	Reason                        string
	Touched                       []string
}

// lastApply sums up the newest apply of a journal; nil when there is none.
func lastApply(entries []Entry) *interrupted {
	var in *interrupted
	for _, e := range entries {
		switch {
		case e.Step == StepBegin:
			in = &interrupted{Generation: e.Generation, Previous: e.Previous, Attempt: e.Attempt, Kind: e.Kind, Touched: e.Touched}
		case in == nil:
		case e.Step == StepCommit:
			in.Committed = true
		case e.Step == StepUndo:
			in.Undoing, in.Reason = true, e.Reason
		}
	}
	return in
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}
