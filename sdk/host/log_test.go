//go:build unix

package host

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
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

// attrsOf are the attributes of a record.
func attrsOf(rec slog.Record) map[string]any {
	attrs := make(map[string]any)
	rec.Attrs(func(a slog.Attr) bool { attrs[a.Key] = a.Value.Any(); return true })
	return attrs
}

// A plugin may log as many attributes as fit into a line.
func TestOfTheAttributesOfARecordOnlySoManyAreKept(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{63: 63, 64: 64, 65: 64, 1000: 64} {
		fields := map[string]any{"level": "INFO", "msg": "m", "time": "x"}
		for i := range n {
			fields[fmt.Sprintf("a%04d", i)] = i
		}
		line, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		_, _, attrs, ok := parseRecord(line)
		if !ok || len(attrs) != want || attrs[want-1].Key != fmt.Sprintf("a%04d", want-1) {
			t.Errorf("of %d attributes %d are kept, %v", n, len(attrs), ok)
		}
	}
}

func TestWhatAPluginPrintsIsMarkedAndHarmless(t *testing.T) {
	t.Parallel()
	log := &records{}
	sink := &logSink{log: slog.New(log), limit: -1}
	out, err := newHandshake(sink.raw("stdout")), &lines{each: sink.structured}
	out.seen = true
	fmt.Fprint(out, "a\x1b[2Jb\n")
	fmt.Fprint(err, "c\n"+strings.Repeat("x", maxLine+1)+"\n")
	fmt.Fprint(err, `{"level":"INFO","msg":"m","a\u001b":"b\u001b","`+strings.Repeat("k", 200)+`":["\u001b"],"n":123456789012345678901234567890}`)
	err.end() // there is no line break at the end
	all := log.all()
	if len(all) != 4 {
		t.Fatalf("%d records", len(all))
	}
	for i, want := range []map[string]any{
		{"stream": "stdout"}, {"stream": "stderr"}, {"stream": "stderr", "cut": true},
		{"a": "b", strings.Repeat("k", 128) + "…": `["\u001b"]`, "n": 1.2345678901234568e+29},
	} {
		got := attrsOf(all[i])
		for k, v := range want {
			found := false
			for key, value := range got {
				found = found || strings.TrimSpace(key) == k && strings.TrimSpace(fmt.Sprint(value)) == fmt.Sprint(v)
			}
			if !found || len(got) != len(want) {
				t.Errorf("record %d has %v, want %v", i, got, want)
			}
		}
		if strings.Contains(all[i].Message+fmt.Sprint(got), "\x1b") {
			t.Errorf("record %d has a control character: %q %q", i, all[i].Message, got)
		}
	}
}

func TestNoMoreLinesAreTakenInASecondThanAllowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &records{}
		sink := &logSink{log: slog.New(log), limit: 3}
		for second := range 2 {
			for range 10 {
				sink.raw("stdout")([]byte("x"), false)
			}
			if n := len(log.all()); n != 3+4*second {
				t.Fatalf("in second %d there are %d records", second, n)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			all := log.all()
			if last := all[len(all)-1]; last.Message != linesDropped || attrsOf(last)["lines"] != int64(7) {
				t.Errorf("at the end of second %d the log says %v", second, last)
			}
		}
	})
}

// panicky is a handler that always panics, and says so.
type panicky struct{ records }

func (p *panicky) Handle(ctx context.Context, rec slog.Record) error {
	_ = p.records.Handle(ctx, rec)
	panic("hush4711")
}

func (p *panicky) WithAttrs(attrs []slog.Attr) slog.Handler {
	rec := slog.Record{Message: "with"}
	rec.AddAttrs(attrs...)
	_ = p.records.Handle(context.Background(), rec)
	return p
}

func (p *panicky) WithGroup(string) slog.Handler { return p }

func TestALoggerThatPanicsHarmsNobodyAndKnowsThePlugin(t *testing.T) {
	t.Parallel()
	log := &panicky{}
	p := part(t, "good")
	p.Name, p.Logger = "called", slog.New(log)
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	value(t, a, "print")
	eventually(t, "the plugin's log arrives", func() bool { _, ok := log.find("to slog"); return ok })
	if value(t, a, "pid") == "" {
		t.Error("it does not answer")
	}
	if with, _ := log.find("with"); attrsOf(with)["plugin"] != "called" {
		t.Errorf("the records say %v", attrsOf(with))
	}
	(&quiet{log}).WithGroup("g").Handle(t.Context(), slog.Record{})
}
