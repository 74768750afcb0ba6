package plugintest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/metrics"
)

// vatConfig configures vat, the sink of these tests.
type vatConfig struct {
	Key     auth.Secret `json:"key"`
	Dir     string      `json:"dir"` // what arrives is a file here
	Stalled bool        `json:"stalled"`
	Reject  bool        `json:"reject"`
	Flaw    string      `json:"flaw"`
	release chan struct{}
}

// vat is a sink that does all it should, but for its flaw. It sends two batches at once,
// so that Close has something to do.
type vat struct {
	cfg vatConfig

	mu    sync.Mutex
	held  []string // guarded by mu
	calls int      // guarded by mu
}

var vatsInUse sync.Map

func newVat(_ context.Context, cfg vatConfig) (metrics.Sink, error) {
	if cfg.Key.IsEmpty() {
		if cfg.Flaw == "untyped" {
			return nil, errors.New("there is no key")
		}
		return nil, &metrics.ConfigError{Field: "key", Problem: "is missing"}
	}
	switch v := (&vat{cfg: cfg}); cfg.Flaw {
	case "nil":
		return (*vat)(nil), nil
	case "open":
		return &openVat{vat: v, Token: cfg.Key.Reveal()}, nil
	case "one":
		if _, taken := vatsInUse.LoadOrStore(cfg.Dir, true); taken {
			return v, nil
		}
		return &firstVat{v}, nil
	default:
		return v, nil
	}
}

type openVat struct {
	*vat
	Token string
}

// firstVat fails when there are others.
type firstVat struct{ *vat }

func (v *firstVat) Export(ctx context.Context, b metrics.Batch) (metrics.Result, error) {
	if b.Points() > 1 {
		return metrics.Result{}, errors.New("another sink has the lock")
	}
	return v.vat.Export(ctx, b)
}

func (v *vat) Export(ctx context.Context, b metrics.Batch) (metrics.Result, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls++
	if v.cfg.Reject {
		switch v.cfg.Flaw {
		case "tries":
			return metrics.Result{}, auth.ErrCredentialsRejected
		case "other":
			return metrics.Result{}, metrics.Permanent(errors.New("no"))
		case "shows":
			return metrics.Result{}, metrics.Permanent(fmt.Errorf("key %s: %w", v.cfg.Key.Reveal(), auth.ErrCredentialsRejected))
		}
		return metrics.Result{}, metrics.Permanent(auth.ErrCredentialsRejected)
	}
	switch v.cfg.Flaw {
	case "writes":
		if len(b.Scopes) > 0 && len(b.Scopes[0].Metrics) > 0 {
			b.Scopes[0].Metrics[0].Name = "mine"
		}
	case "counts":
		return metrics.Result{Rejected: b.Points() + 1, Reason: "more"}, nil
	case "both":
		return metrics.Result{Rejected: 1, Reason: "one"}, errors.New("and an error")
	case "mute":
		return metrics.Result{Rejected: 1}, nil
	case "lines":
		return metrics.Result{Rejected: 1, Reason: "one\ntwo"}, nil
	case "tells":
		return metrics.Result{Rejected: 1, Reason: "the key " + v.cfg.Key.Reveal()}, nil
	case "refuses":
		return metrics.Result{Rejected: b.Points(), Reason: "nothing is good enough"}, nil
	case "panics":
		panic("not here")
	case "racy timeout":
		return metrics.Result{}, context.Canceled
	case "first":
		if v.calls > 1 {
			return metrics.Result{}, errors.New("only once")
		}
	case "leaks":
		go func() { <-v.cfg.release }()
	case "now and then":
		if v.calls%2 == 0 {
			return metrics.Result{}, metrics.Permanent(errors.New("not this one"))
		}
	}
	if v.cfg.Stalled {
		switch v.cfg.Flaw {
		case "deaf":
			<-v.cfg.release
		case "own words":
			<-ctx.Done()
			return metrics.Result{}, errors.New("timed out")
		}
		<-ctx.Done()
		return metrics.Result{}, fmt.Errorf("sending: %w", ctx.Err())
	}
	var res metrics.Result
	for _, s := range b.Scopes {
		for _, m := range s.Metrics {
			if v.cfg.Flaw == "trusting" {
				for _, d := range m.Histograms {
					_ = d.Buckets[len(d.Bounds)]
				}
			}
			for _, n := range m.Numbers {
				switch {
				case v.cfg.Flaw == "poisoned" && math.IsNaN(n.Value):
					v.cfg.Flaw = "refuses"
				case v.cfg.Flaw == "logs":
					fmt.Fprintln(os.Stderr, "sending", m.Name)
				}
			}
			if len(m.Numbers) == 1 && m.Numbers[0].Value == 1 && !strings.ContainsAny(m.Name, "/\x00\n") && utf8.ValidString(m.Name) && len(m.Name) < 100 {
				v.held = append(v.held, m.Name)
			}
		}
	}
	if len(v.held) > 2 && v.cfg.Flaw != "forgets" {
		v.flushLocked()
	}
	return res, nil
}

// REQUIRES: v.mu.
func (v *vat) flushLocked() {
	for i, name := range v.held {
		if v.cfg.Flaw == "drops" && i > 0 {
			continue
		}
		_ = os.WriteFile(filepath.Join(v.cfg.Dir, name), nil, 0o600)
	}
	v.held = nil
}

func (v *vat) Close(ctx context.Context) error {
	switch v.cfg.Flaw {
	case "never ends":
		<-v.cfg.release
	case "waits":
		if v.calls > 0 {
			<-v.cfg.release
		}
	case "unused":
		if v.calls == 0 {
			return errors.New("nothing was sent")
		}
	case "impatient":
		select {
		case <-ctx.Done():
		case <-v.cfg.release:
		}
		<-v.cfg.release
	case "forgets":
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.flushLocked()
	return nil
}

func vatOptions(t *testing.T, flaw string) MetricsOptions[vatConfig] {
	dir, key, release := t.TempDir(), auth.NewSecret(token), make(chan struct{})
	t.Cleanup(func() { close(release) })
	cfg := vatConfig{Key: key, Dir: dir, Flaw: flaw, release: release}
	stalled, reject, none := cfg, cfg, cfg
	stalled.Stalled, reject.Reject, none.Key = true, true, auth.Secret{}
	return MetricsOptions[vatConfig]{
		Config: cfg, Stalled: &stalled,
		Failures: []MetricsFailure[vatConfig]{
			{Name: "no key", Config: none, Field: "key"},
			{Name: "rejected", Config: reject, Permanent: true, Is: auth.ErrCredentialsRejected},
		},
		Arrived: arrivedIn(dir),
	}
}

// arrivedIn looks for the file of a metric.
func arrivedIn(dir string) func(string) bool {
	return func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
}

func TestASinkThatDoesWhatItShouldPasses(t *testing.T) {
	t.Parallel()
	Metrics(t, newVat, vatOptions(t, ""))
}

// What is not there is skipped, and the least that works passes.
func TestTheLeastSinkThatWorksPasses(t *testing.T) {
	t.Parallel()
	Metrics(t, func(context.Context, struct{}) (leastSink, error) { return leastSink{}, nil }, MetricsOptions[struct{}]{})
	checks := metricsInProcess(func(context.Context, struct{}) (leastSink, error) { return leastSink{}, nil }, MetricsOptions[struct{}]{})
	for _, name := range []string{"Arrival", "Failures"} {
		if rec := record(t, checks, name); rec.Failed() || !rec.skipped || rec.text() == "" {
			t.Errorf("%s: failed %v, skipped %v, %q", name, rec.Failed(), rec.skipped, rec.text())
		}
	}
}

type leastSink struct{}

func (leastSink) Export(context.Context, metrics.Batch) (metrics.Result, error) {
	return metrics.Result{}, nil
}
func (leastSink) Close(context.Context) error { return nil }

func TestEveryFlawOfASinkIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ flaw, check, want string }{
		{"writes", "Export", "Export changed the batch, which is read-only"},
		{"counts", "Export", "Export rejected 6 of 5 points"},
		{"both", "Export", "rejected 1 points and returned an error"},
		{"mute", "Export", "rejected 1 points and gave no reason"},
		{"lines", "Export", "a reason that is not one line"},
		{"tells", "Export", "the reason of Export shows a secret"},
		{"panics", "Export", "Export panicked: not here"},
		{"racy timeout", "Export", "returned context.Canceled, and its context has not ended"},
		{"first", "Export", "Export: only once"},
		{"nil", "Export", "returned neither what it makes nor an error"},
		{"drops", "Arrival", "took a batch that did not arrive within"},
		{"forgets", "Arrival", "took a batch that did not arrive within"},
		{"refuses", "Arrival", "rejected a gauge of 1: nothing is good enough"},
		{"trusting", "Hostile", "panicked: runtime error: index out of range"},
		{"trusting", "Hostile", "that was a batch of a distribution of nothing"},
		{"poisoned", "Hostile", "rejected a gauge of 1"},
		{"now and then", "Periodic", "Periodic exported"},
		{"forgets", "Periodic", "took a batch that did not arrive within"},
		{"deaf", "Periodic", "closing a Periodic whose receiver does not answer: it did not return within"},
		{"deaf", "Cancellation", "Export whose context was cancelled: it did not return within"},
		{"own words", "Cancellation", "whose context was cancelled returned another error: timed out"},
		{"deaf", "Deadline", "Export whose deadline passed: it did not return within"},
		{"own words", "Deadline", "whose deadline passed returned another error: timed out"},
		{"untyped", "Failures", "no key: the error holds no *metrics.ConfigError of the field key: there is no key"},
		{"tries", "Failures", "rejected: that the error is metrics.ErrPermanent is false, want true"},
		{"other", "Failures", "rejected: got the error no, want auth: credentials rejected"},
		{"shows", "Failures", "the error of Export shows a secret"},
		{"one", "Concurrent", "Export of a sink among others: another sink has the lock"},
		{"never ends", "Close", "Close: it did not return within"},
		{"waits", "Close", "Close: it did not return within"},
		{"impatient", "Close", "Close: it did not return within"},
		{"unused", "Close", "Close of an unused sink: nothing was sent"},
		{"open", "Printing", "a printed sink shows a secret"},
		{"leaks", "Goroutines", "goroutines that the plugin started are still there after Close"},
	} {
		t.Run(tt.flaw+" "+tt.check, func(t *testing.T) {
			t.Parallel()
			opts := vatOptions(t, tt.flaw)
			if strings.HasSuffix(tt.want, " within") || strings.HasSuffix(tt.want, "still there after Close") {
				opts.Patience = never
			}
			rec := record(t, metricsInProcess(newVat, opts), tt.check)
			wantFault(t, rec, tt.want)
			if strings.Contains(rec.text(), token) {
				t.Errorf("the kit shows the secret: %s", rec.text())
			}
		})
	}
}

func TestAnExportThatNeverWaitsIsNoStalledOne(t *testing.T) {
	t.Parallel()
	opts := vatOptions(t, "")
	opts.Stalled = &opts.Config
	wantFault(t, record(t, metricsInProcess(newVat, opts), "Cancellation"), "Stalled: Export succeeded, and should have to wait")
}
