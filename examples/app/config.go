package main

import (
	"fmt"
	"strconv"
	"time"
)

// config is what the environment says. The zero switches make a healthy build.
type config struct {
	port      int
	version   string
	build     string
	configDir string // the only directory that /file reads
	getenv    func(string) string

	sick       bool          // never healthy
	sickAfter  time.Duration // healthy first, sick from then on; 0 means never
	exit       int           // exit at once with this status; 0 means serve
	exitAfter  time.Duration // crash while serving; 0 means never
	startDelay time.Duration // listens only after this time
	stopDelay  time.Duration // takes this long to end after it was told to, holding its lock
	slow       time.Duration // how long /slow takes

	lock, lockKind string // a file to hold an exclusive lock on: a single writer

	channel       string // of /api/health
	schema        int
	adminEmail    string // an administrator who exists from the start
	adminPassword string
	queryEmpty    bool // healthy, but queries have no rows: only a smoke test notices
	busy          bool // /api/sync/status is locked for ever
	syncTime      time.Duration
}

// isSick says whether a build that has been up so long is unhealthy.
func (c config) isSick(up time.Duration) bool {
	return c.sick || (c.sickAfter > 0 && up >= c.sickAfter)
}

// version and build may be set at link time; the environment wins.
var (
	version = "dev"
	build   = "unknown"
)

func readConfig(getenv func(string) string) (config, error) {
	e := envReader{getenv: getenv}
	cfg := config{
		port:       e.integer("PORT", 8000),
		version:    e.text("APP_VERSION", version),
		build:      e.text("APP_BUILD", build),
		configDir:  e.text("APP_CONFIG_DIR", "/config"),
		getenv:     getenv,
		sick:       e.flag("APP_SICK"),
		sickAfter:  e.duration("APP_SICK_AFTER", 0),
		exit:       e.integer("APP_EXIT", 0),
		exitAfter:  e.duration("APP_EXIT_AFTER", 0),
		startDelay: e.duration("APP_START_DELAY", 0),
		stopDelay:  e.duration("APP_STOP_DELAY", 0),
		slow:       e.duration("APP_SLOW", 5*time.Second),
		lock:       e.text("APP_LOCK", ""),
		lockKind:   e.text("APP_LOCK_KIND", "fcntl"),

		channel:       e.text("APP_CHANNEL", "dev"),
		schema:        e.integer("APP_SCHEMA_VERSION", 1),
		adminEmail:    e.text("APP_ADMIN_EMAIL", ""),
		adminPassword: e.text("APP_ADMIN_PASSWORD", ""),
		queryEmpty:    e.flag("APP_QUERY_EMPTY"),
		busy:          e.flag("APP_BUSY"),
		syncTime:      e.duration("APP_SYNC_TIME", time.Second),
	}
	return cfg, e.err
}

// envReader keeps the first problem, so that a list of reads needs one check.
type envReader struct {
	getenv func(string) string
	err    error
}

func (e *envReader) text(name, fallback string) string {
	if v := e.getenv(name); v != "" {
		return v
	}
	return fallback
}

func (e *envReader) integer(name string, fallback int) int {
	return parse(e, name, fallback, strconv.Atoi)
}

func (e *envReader) flag(name string) bool {
	return parse(e, name, false, strconv.ParseBool)
}

func (e *envReader) duration(name string, fallback time.Duration) time.Duration {
	return parse(e, name, fallback, time.ParseDuration)
}

func parse[T any](e *envReader, name string, fallback T, read func(string) (T, error)) T {
	v := e.getenv(name)
	if v == "" {
		return fallback
	}
	got, err := read(v)
	if err != nil {
		if e.err == nil {
			e.err = fmt.Errorf("read environment %s: %w", name, err)
		}
		return fallback
	}
	return got
}
