package poolcloudwatch

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/metrics"
)

// withState is a sink whose state file is file, and its log.
func withState(t *testing.T, e *endpoint, file string) (*Sink, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	return newSink(t, e, func(c *Config) {
		c.StateFile, c.Logger = file, slog.New(slog.NewTextHandler(log, nil))
	}), log
}

func TestASinkGoesOnFromItsStateFile(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	file := filepath.Join(t.TempDir(), "sent.json")
	now := time.Now()
	start := now.Add(-time.Hour)
	first, _ := withState(t, e, file)
	last := batch(borrowed(10, start, now.Add(-2*time.Minute)), idle(1, now.Add(-2*time.Minute)))
	deliver(t, first, last)
	e.take()

	second, log := withState(t, e, file)
	deliver(t, second, last)
	if got := e.values(); len(got) != 0 {
		t.Errorf("of a batch that had arrived %v was sent again", got)
	}
	deliver(t, second, batch(borrowed(14, start, now.Add(-time.Minute))))
	if got := e.values(); got["BorrowCount"] != 4 {
		t.Errorf("sent %v, want the difference", got)
	}
	third, _ := withState(t, e, file)
	deliver(t, third, batch(borrowed(20, now.Add(-30*time.Second), now)))
	if got := e.values(); got["BorrowCount"] != 20 {
		t.Errorf("sent %v of a pool that began anew", got)
	}
	if log.Len() > 0 {
		t.Errorf("logged %s", log)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v, %v: want it to be private", info, err)
	}
}

// A host that replaces its plugin opens the new one before the old one has ended.
func TestASinkKnowsWhatTheOneBeforeSentInTheEnd(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	file := filepath.Join(t.TempDir(), "sent.json")
	now := time.Now()
	start := now.Add(-time.Hour)
	before, _ := withState(t, e, file)
	after, _ := withState(t, e, file)
	deliver(t, before, batch(borrowed(10, start, now.Add(-time.Minute))))
	e.take()
	deliver(t, after, batch(borrowed(12, start, now)))
	if got := e.values(); got["BorrowCount"] != 2 {
		t.Errorf("sent %v, want the difference to what the one before sent", got)
	}
}

func TestResumeOutlivesAnExportThatFailed(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	file := filepath.Join(t.TempDir(), "sent.json")
	s := newSink(t, e, func(c *Config) { c.StateFile, c.Resume = file, true })
	now := time.Now()
	start := now.Add(-time.Hour)
	e.refuseWith(500, "InternalServiceFault")
	if _, err := s.Export(t.Context(), batch(borrowed(100, start, now.Add(-2*time.Minute)), idle(1, now))); err == nil {
		t.Fatal("a request was refused, and Export says nothing")
	}
	deliver(t, s, batch(borrowed(103, start, now.Add(-time.Minute))))
	if got := e.values(); got["BorrowCount"] != 3 {
		t.Errorf("sent %v, want what came after the first total", got)
	}
}

func TestADamagedStateFileIsLoggedAndCountsNothingTwice(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"cut": `{"version":1,"se`, "empty": "", "a later form": `{"version":2,"sent":{}}`} {
		e := newEndpoint(t)
		file := filepath.Join(t.TempDir(), "sent.json")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		s, log := withState(t, e, file)
		deliver(t, s, batch(borrowed(100, now.Add(-time.Hour), now.Add(-time.Minute))))
		deliver(t, s, batch(borrowed(103, now.Add(-time.Hour), now)))
		if got := e.values(); got["BorrowCount"] != 3 {
			t.Errorf("%s: sent %v, want what came after the first total", name, got)
		}
		if strings.Count(log.String(), "level=WARN") != 1 || !strings.Contains(log.String(), file) {
			t.Errorf("%s: logged %q", name, log)
		}
	}
}

func TestAStateFileWithoutAPlaceIsAFaultOfTheConfig(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	for name, file := range map[string]string{"no folder": filepath.Join(t.TempDir(), "missing", "f"), "a folder": t.TempDir()} {
		cfg := e.config()
		cfg.StateFile = file
		_, err := New(t.Context(), cfg)
		if ce, ok := errors.AsType[*metrics.ConfigError](err); !ok || ce.Field != "StateFile" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAStateFileThatCannotBeWrittenIsLoggedOnceAndStopsNothing(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	file := filepath.Join(t.TempDir(), "sent.json")
	s, log := withState(t, e, file)
	now := time.Now()
	at := func(minute int) time.Time { return now.Add(time.Duration(minute-10) * time.Minute) }
	send := func(minute int, warnings int) {
		t.Helper()
		deliver(t, s, batch(borrowed(float64(minute), now.Add(-time.Hour), at(minute))))
		if got := e.values(); got["BorrowCount"] != 1 {
			t.Errorf("minute %d: sent %v", minute, got)
		}
		if got := strings.Count(log.String(), "level=WARN"); got != warnings {
			t.Errorf("minute %d: %d warnings, want %d: %s", minute, got, warnings, log)
		}
	}
	inTheWay := func() {
		t.Helper()
		if err := os.Mkdir(file+".new", 0o700); err != nil {
			t.Fatal(err)
		}
	}
	send(1, 0)
	inTheWay()
	send(2, 1) // what is in the file is of minute 1 from here on
	send(3, 1)
	if err := os.Remove(file + ".new"); err != nil {
		t.Fatal(err)
	}
	send(4, 1)
	inTheWay()
	send(5, 2)
}

// spy sees requests before they are sent.
type spy func(*http.Request)

func (s spy) Do(r *http.Request) (*http.Response, error) {
	s(r)
	return http.DefaultClient.Do(r)
}

func TestWhatHasArrivedIsWrittenDownBeforeTheNextRequest(t *testing.T) {
	t.Parallel()
	defer http.DefaultClient.CloseIdleConnections()
	e := newEndpoint(t)
	file := filepath.Join(t.TempDir(), "sent.json")
	var known []int // series in the file, when a request is sent
	s := newSink(t, e, func(c *Config) {
		c.All, c.StateFile = true, file
		c.AWS.HTTPClient = spy(func(*http.Request) {
			var st state
			if raw, err := os.ReadFile(file); err != nil || json.Unmarshal(raw, &st) != nil {
				t.Errorf("the state file: %s, %v", raw, err)
			}
			known = append(known, len(st.Sent))
		})
	})
	m := idle(1, time.Now())
	m.Numbers = nil
	for i := range 2500 {
		m.Numbers = append(m.Numbers, metrics.Number{Attributes: []metrics.Attribute{{Key: "pool", Value: strconv.Itoa(i)}}, Time: time.Now(), Value: 1})
	}
	deliver(t, s, batch(m))
	if !slices.Equal(known, []int{0, 1000, 2000}) {
		t.Errorf("of so many series it was known that they had arrived: %v", known)
	}
}
