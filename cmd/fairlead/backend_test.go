package main

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestCommandsWaitForADaemonThatStarts(t *testing.T) {
	for name, tt := range map[string]struct {
		answers time.Duration // 0: never
		held    bool
		want    error
		took    time.Duration
	}{
		"starts":           {time.Second, true, nil, time.Second},
		"nobody is there":  {0, false, syscall.ECONNREFUSED, 0},
		"hangs":            {0, true, syscall.ECONNREFUSED, startsWithin},
		"is there already": {time.Nanosecond, true, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				alive := func(context.Context) error {
					if tt.answers > 0 && time.Since(began) >= tt.answers.Truncate(time.Millisecond) {
						return nil
					}
					return syscall.ECONNREFUSED
				}
				err := untilAwake(t.Context(), alive, func() bool { return tt.held })
				if took := time.Since(began); err != tt.want || took < tt.took || took > tt.took+200*time.Millisecond {
					t.Errorf("%v after %s, want %v after %s", err, took, tt.want, tt.took)
				}
			})
		})
	}
}
