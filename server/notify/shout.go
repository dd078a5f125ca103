package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// shoutRequest is what a child is asked on its standard input. Title is told
// apart from the text where a service knows titles.
type shoutRequest struct {
	URL   string          `json:"url"`
	Title string          `json:"title"`
	Text  string          `json:"text"`
	Host  json.RawMessage `json:"host,omitempty"` // what the program's own part needs to say what is in reach
}

// shoutAnswer is what it says on its standard output.
type shoutAnswer struct {
	OK      bool   `json:"ok"`
	Error   string `json:"error,omitempty"`
	Refused bool   `json:"refused,omitempty"`
	// After is when the service wants to be asked again.
	After time.Duration `json:"after,omitempty"`
}

const maxShoutAnswer = 16 << 10

// shout delivers a notice by a child process: the library has no context, keeps
// what hangs in goroutines, and shares the HTTP client of the process, so it
// gets a process of its own, which can be ended.
func shout(ctx context.Context, command func(context.Context) *exec.Cmd, host json.RawMessage, url string, n Notice, template string) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	ask, err := json.Marshal(shoutRequest{URL: url, Title: n.Title, Text: text(n, template), Host: host})
	if err != nil {
		return fmt.Errorf("write notice: %w", err)
	}
	var out limited
	cmd := command(ctx)
	cmd.Stdin, cmd.Stdout, cmd.WaitDelay = bytes.NewReader(ask), &out, time.Second
	err = cmd.Run()
	var answer shoutAnswer
	switch {
	case ctx.Err() != nil:
		return errors.New("the service did not answer in time")
	case err != nil:
		return fmt.Errorf("run sender: %w", err)
	case json.Unmarshal(out.Bytes(), &answer) != nil:
		return errors.New("run sender: its answer cannot be read")
	case answer.Refused:
		return refusal{errors.New(answer.Error)}
	case answer.After > 0:
		return later{errors.New(answer.Error), min(answer.After, maxLater)}
	case !answer.OK:
		return errors.New(answer.Error)
	}
	return nil
}

// limited keeps the first bytes that are written to it.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxShoutAnswer {
		return 0, io.ErrShortWrite
	}
	return l.Buffer.Write(p)
}

// scrub takes what a URL says out of a text: errors of the library and of
// net/http repeat it, in whole or in parts.
func scrub(message, url string) string {
	message = anyURL.ReplaceAllString(message, "…")
	for _, piece := range pieces(url) {
		message = strings.ReplaceAll(message, piece, "…")
	}
	return oneLine(message, 300)
}
