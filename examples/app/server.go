package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

const (
	drainTime   = 8 * time.Second // under Docker's default stop grace period of 10 s
	maxFileRead = 1 << 20
)

// serve blocks until ctx ends, then lets requests in flight finish.
func serve(ctx context.Context, cfg config, out io.Writer) error {
	logger := log.New(out, "", log.LstdFlags|log.LUTC|log.Lmsgprefix)
	logger.Printf("start version=%s build=%s port=%d", cfg.version, cfg.build, cfg.port)
	if cfg.exit != 0 {
		return exitError{code: cfg.exit, reason: fmt.Sprintf("this build exits with %d (APP_EXIT)", cfg.exit)}
	}
	if cfg.lock != "" {
		held, err := takeLock(cfg.lock, cfg.lockKind)
		if err != nil {
			return err
		}
		defer func() { _ = held.Close() }() // the kernel would do it in a moment
		logger.Printf("locked path=%s kind=%s", cfg.lock, cfg.lockKind)
	}
	if !pause(ctx, cfg.startDelay) {
		logger.Printf("stop before ready version=%s", cfg.version)
		return nil
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("", strconv.Itoa(cfg.port)))
	if err != nil {
		return fmt.Errorf("listen on port %d: %w", cfg.port, err)
	}
	logger.Printf("ready address=%s", ln.Addr())
	err = serveOn(ctx, ln, cfg)
	logger.Printf("stop version=%s delay=%s", cfg.version, cfg.stopDelay)
	pause(context.WithoutCancel(ctx), cfg.stopDelay)
	return err
}

func serveOn(ctx context.Context, ln net.Listener, cfg config) error {
	streaming, endStreams := context.WithCancel(ctx)
	defer endStreams()
	srv := &http.Server{Handler: newHandler(streaming, cfg, time.Now()), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	crash := make(<-chan time.Time)
	if cfg.exitAfter > 0 {
		crash = time.After(cfg.exitAfter)
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-crash:
		return exitError{code: 1, reason: "this build crashes after " + cfg.exitAfter.String() + " (APP_EXIT_AFTER)"}
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		return fmt.Errorf("drain requests: %w", err)
	}
	return nil
}

// newHandler routes requests. started is when the build counts as up, which APP_SICK_AFTER is measured from.
// ctx ends what would go on without end.
func newHandler(ctx context.Context, cfg config, started time.Time) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "app %s (build %s)\n", cfg.version, cfg.build)
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, cfg, time.Since(started)) })
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, cfg.version) })
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, r *http.Request) { writeEnv(w, r, cfg.getenv) })
	mux.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) { writeFile(w, r, cfg.configDir) })
	newAPI(ctx, cfg, started).routes(mux)
	streams(ctx, mux, cfg)
	return mux
}

// healthReport is the body of /health.
type healthReport struct {
	Status  string `json:"status"`
	Version string `json:"version"`
	Build   string `json:"build"`
}

func writeHealth(w http.ResponseWriter, cfg config, up time.Duration) {
	report := healthReport{Status: "healthy", Version: cfg.version, Build: cfg.build}
	w.Header().Set("Content-Type", "application/json")
	if cfg.isSick(up) {
		report.Status = "unhealthy"
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(report) // the client is gone when this fails
}

func writeEnv(w http.ResponseWriter, r *http.Request, getenv func(string) string) {
	name := r.URL.Query().Get("name")
	if !mayShow(name) {
		http.Error(w, "this variable is not shown: only PORT, HOSTNAME, TZ, LOG_LEVEL, GREETING, DOMAIN and names "+
			"that start with APP_ or PUBLIC_, unless they sound like a secret", http.StatusForbidden)
		return
	}
	fmt.Fprintln(w, getenv(name))
}

// mayShow is the allow-list of /env: a demonstration must not become the hole that leaks a password.
func mayShow(name string) bool {
	for _, word := range []string{"SECRET", "TOKEN", "PASS", "KEY", "CRED", "AUTH"} {
		if strings.Contains(strings.ToUpper(name), word) {
			return false
		}
	}
	switch name {
	case "PORT", "HOSTNAME", "TZ", "LOG_LEVEL", "GREETING", "DOMAIN":
		return true
	}
	return strings.HasPrefix(name, "APP_") || strings.HasPrefix(name, "PUBLIC_")
}

// writeFile shows one file below dir. os.Root refuses ".." and symbolic links that leave it.
func writeFile(w http.ResponseWriter, r *http.Request, dir string) {
	rel := path.Clean(strings.TrimPrefix(r.URL.Query().Get("path"), strings.TrimSuffix(dir, "/")+"/"))
	data, err := readUnder(dir, rel)
	switch {
	case errors.Is(err, os.ErrNotExist):
		http.Error(w, "no such file", http.StatusNotFound)
	case err != nil:
		http.Error(w, "this path cannot be read", http.StatusForbidden)
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(data) // the client is gone when this fails
	}
}

func readUnder(dir, rel string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	info, err := root.Stat(rel)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", rel)
	}
	f, err := root.Open(rel)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxFileRead))
}

// pause waits for d and reports whether ctx lasted that long.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
