package acme

import (
	"context"
	"log/slog"

	"github.com/sirupsen/logrus"
)

// debugLog passes on what acmez logs, as debug lines: what matters of it is
// returned as an error as well.
type debugLog struct{ to *logrus.Entry }

func (l debugLog) Enabled(context.Context, slog.Level) bool {
	return l.to.Logger.IsLevelEnabled(logrus.DebugLevel)
}

func (l debugLog) Handle(_ context.Context, r slog.Record) error {
	fields := logrus.Fields{}
	r.Attrs(func(a slog.Attr) bool {
		fields[a.Key] = a.Value.String()
		return true
	})
	l.to.WithFields(fields).Debug("acme: " + r.Message)
	return nil
}

func (l debugLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	fields := logrus.Fields{}
	for _, a := range attrs {
		fields[a.Key] = a.Value.String()
	}
	return debugLog{l.to.WithFields(fields)}
}

func (l debugLog) WithGroup(string) slog.Handler { return l }
