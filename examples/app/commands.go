package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// healthcheck asks the server of this container; it replaces curl, which an image FROM scratch does not have.
func healthcheck(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	url := "http://127.0.0.1:" + strconv.Itoa(port) + "/health"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("make request for %s: %w", url, err)
	}
	client := &http.Client{
		Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask health: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // only to explain; the status has decided
		return fmt.Errorf("ask health: %s: %s", resp.Status, body)
	}
	return nil
}

// job runs once: app job [N] [DURATION].
func job(ctx context.Context, cfg config, args []string, out io.Writer) error {
	code, length, err := jobArgs(args)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "job start version=%s\n", cfg.version)
	if !pause(ctx, length) {
		return exitError{code: 143, reason: "job stopped by a signal"} // 128+SIGTERM, as a shell reports it
	}
	fmt.Fprintf(out, "job done version=%s exit=%d\n", cfg.version, code)
	if code != 0 {
		return exitError{code: code, reason: fmt.Sprintf("job fails with %d as asked", code)}
	}
	return nil
}

func jobArgs(args []string) (code int, length time.Duration, err error) {
	if len(args) > 2 {
		return 0, 0, exitError{code: 2, reason: usage}
	}
	if len(args) > 0 {
		if code, err = strconv.Atoi(args[0]); err != nil || code < 0 || code > 255 {
			return 0, 0, exitError{code: 2, reason: fmt.Sprintf("job: exit status %q is not 0 to 255", args[0])}
		}
	}
	if len(args) > 1 {
		if length, err = time.ParseDuration(args[1]); err != nil {
			return 0, 0, exitError{code: 2, reason: fmt.Sprintf("job: %v", err)}
		}
	}
	return code, length, nil
}

// write puts text into a file by way of a temporary name, so a reader sees the old or the new text, never half.
func write(cfg config, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return exitError{code: 2, reason: usage}
	}
	text := cfg.version
	if len(args) == 2 {
		text = args[1]
	}
	name := args[0]
	f, err := os.CreateTemp(filepath.Dir(name), ".app-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when the rename has happened
	if err := fill(f, text+"\n"); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func fill(f *os.File, text string) error {
	_, err := f.WriteString(text)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
