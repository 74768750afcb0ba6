//go:build unix

package host

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
)

// records keeps what is logged.
type records struct {
	mu   sync.Mutex
	list []slog.Record // guarded by mu
}

func (r *records) Enabled(context.Context, slog.Level) bool { return true }

func (r *records) Handle(_ context.Context, rec slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, rec.Clone())
	return nil
}

func (r *records) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r *records) WithGroup(string) slog.Handler      { return r }

// all returns the records so far.
func (r *records) all() []slog.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// find returns the first record with the message.
func (r *records) find(msg string) (slog.Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.list {
		if rec.Message == msg {
			return rec, true
		}
	}
	return slog.Record{}, false
}

func testLogger(t *testing.T) *slog.Logger {
	t.Helper()
	return slog.New(&records{})
}
