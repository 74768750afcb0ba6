package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

// eyeConfig configures eye, the prober of these tests.
type eyeConfig struct {
	Key     auth.Secret `json:"key"`
	Stalled bool        `json:"stalled"`
	Reject  bool        `json:"reject"`
	Flaw    string      `json:"flaw"`
	release chan struct{}
}

// eye calls "look" and is content with {"ok":true}. It does all it should, but for its
// flaw.
type eye struct {
	cfg eyeConfig

	mu       sync.Mutex
	inflight []context.CancelFunc // guarded by mu; of the flaw "others"
	probes   int                  // guarded by mu
	now      string               // guarded by mu; of the flaw "mixes"
}

func newEye(_ context.Context, cfg eyeConfig) (probe.Prober, error) {
	if cfg.Key.IsEmpty() {
		if cfg.Flaw == "untyped" {
			return nil, errors.New("there is no key")
		}
		return nil, &probe.ConfigError{Field: "key", Problem: "is missing"}
	}
	switch e := (&eye{cfg: cfg}); cfg.Flaw {
	case "nil":
		return (*eye)(nil), nil
	case "open":
		return &openEye{eye: e, Token: cfg.Key.Reveal()}, nil
	default:
		return e, nil
	}
}

type openEye struct {
	*eye
	Token string
}

func (e *eye) Probe(ctx context.Context, target probe.Target) (probe.Verdict, error) {
	about := target.Describe()
	e.mu.Lock()
	e.probes++
	probes := e.probes
	e.now = about.ID
	e.mu.Unlock()
	if e.cfg.Reject {
		if e.cfg.Flaw == "shows" {
			return probe.Verdict{}, fmt.Errorf("key %s: %w", e.cfg.Key.Reveal(), auth.ErrCredentialsRejected)
		}
		if e.cfg.Flaw == "untyped" {
			return probe.Verdict{}, errors.New("no")
		}
		return probe.Verdict{}, auth.ErrCredentialsRejected
	}
	switch e.cfg.Flaw {
	case "panics":
		panic("not here")
	case "third":
		if probes > 2 {
			return probe.Verdict{}, errors.New("enough")
		}
	case "status":
		return probe.Verdict{Status: 7, Reason: "no idea"}, nil
	case "lines":
		return probe.Verdict{Reason: "one\ntwo"}, nil
	case "mute":
		return probe.Verdict{Status: probe.Degraded}, nil
	case "tells":
		return probe.Verdict{Reason: "with " + e.cfg.Key.Reveal()}, nil
	case "racy timeout":
		return probe.Verdict{}, context.Canceled
	case "writes":
		about.Methods[0] = "mine"
	case "params":
		_, _ = target.Call(ctx, "look", json.RawMessage("{"))
	case "late":
		go e.look(target)
	case "leaks":
		go func() { <-e.cfg.release }()
	}
	if !about.Lists("look") && e.cfg.Flaw != "asks" {
		if e.cfg.Flaw == "condemns" {
			return probe.Verdict{Status: probe.Unhealthy, Reason: "it lists nothing"}, nil
		}
		return probe.Verdict{Reason: "it does not list look"}, nil
	}
	if e.cfg.Stalled && e.cfg.Flaw == "never waits" {
		return probe.Verdict{Status: probe.Healthy}, nil
	}
	if e.cfg.Stalled {
		if e.cfg.Flaw == "deaf" {
			<-e.cfg.release
		}
		if e.cfg.Flaw == "others" {
			ctx = e.share(ctx)
		}
		<-ctx.Done()
		return probe.Verdict{Reason: "cut short"}, ctx.Err()
	}
	if e.cfg.Flaw == "others with target" {
		ctx = e.share(ctx)
	}
	if e.cfg.Flaw == "logs" {
		fmt.Fprintln(os.Stderr, "looking at", about.ID)
	}
	if e.cfg.Flaw == "deaf to target" {
		done := make(chan struct{})
		go func() { _, _ = target.Call(ctx, "look", nil); close(done) }()
		select {
		case <-ctx.Done():
			<-e.cfg.release
		case <-done:
		}
	}
	raw, err := target.Call(ctx, "look", json.RawMessage(`{"at":"it"}`))
	if e.cfg.Flaw == "mixes" {
		time.Sleep(time.Millisecond)
		e.mu.Lock()
		mixed := e.now != about.ID
		e.mu.Unlock()
		if mixed {
			return probe.Verdict{Status: probe.Unhealthy, Reason: "which one was it"}, nil
		}
	}
	switch {
	case ctx.Err() != nil && e.cfg.Flaw == "condemns":
		return probe.Verdict{Status: probe.Unhealthy, Reason: "no answer"}, nil
	case ctx.Err() != nil:
		return probe.Verdict{Reason: "cut short"}, ctx.Err()
	case err != nil && e.cfg.Flaw == "quotes":
		return probe.Verdict{Status: probe.Unhealthy, Reason: strings.ReplaceAll(err.Error(), "\n", " ")}, nil
	case err != nil:
		return probe.Verdict{Status: probe.Unhealthy, Reason: "no answer"}, nil //nolint:nilerr // it is the target's
	}
	return e.judge(raw), nil
}

// look does not stop looking.
func (e *eye) look(target probe.Target) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_, _ = target.Call(context.Background(), "look", nil)
		case <-e.cfg.release:
			return
		}
	}
}

func (e *eye) judge(raw json.RawMessage) probe.Verdict {
	var answer map[string]any
	err := json.Unmarshal(raw, &answer)
	switch {
	case e.cfg.Flaw == "trusting":
		var anything any
		_ = json.Unmarshal(raw, &anything)
		_ = anything.(map[string]any)
	case e.cfg.Flaw == "broken" && err != nil:
		e.cfg.Flaw = "status"
	}
	if answer["ok"] != true && e.cfg.Flaw != "blind" {
		return probe.Verdict{Status: probe.Unhealthy, Reason: "it is not ok"}
	}
	return probe.Verdict{Status: probe.Healthy}
}

// share has all callers end with the first.
func (e *eye) share(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	e.mu.Lock()
	e.inflight = append(e.inflight, cancel)
	e.mu.Unlock()
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, cancel := range e.inflight {
			cancel()
		}
	})
	return ctx
}

func (e *eye) Close(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.cfg.Flaw == "never ends":
		<-e.cfg.release
	case e.cfg.Flaw == "unused" && e.probes == 0:
		return errors.New("nothing was seen")
	case e.cfg.Flaw == "used" && e.probes > 0:
		return errors.New("too much was seen")
	}
	return nil
}

// seen is a target that eye finds healthy.
func seen(answer string) Target {
	return Target{
		About: probe.Description{Methods: []string{"look"}},
		Answer: func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
			return json.RawMessage(answer), nil
		},
	}
}

func eyeOptions(t *testing.T, flaw string) ProbeOptions[eyeConfig] {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	cfg := eyeConfig{Key: auth.NewSecret(token), Flaw: flaw, release: release}
	stalled, reject, none := cfg, cfg, cfg
	stalled.Stalled, reject.Reject, none.Key = true, true, auth.Secret{}
	return ProbeOptions[eyeConfig]{
		Config: cfg, Stalled: &stalled, Target: seen(`{"ok":true}`),
		Verdicts: []ProbeVerdict[eyeConfig]{{Name: "not ok", Config: cfg, Target: seen(`{"ok":false}`), Status: probe.Unhealthy}},
		Failures: []ProbeFailure[eyeConfig]{
			{Name: "no key", Config: none, Field: "key"}, {Name: "rejected", Config: reject, Is: auth.ErrCredentialsRejected},
		},
	}
}

func TestAProberThatDoesWhatItShouldPasses(t *testing.T) {
	t.Parallel()
	Probe(t, newEye, eyeOptions(t, ""))
}

type leastEye struct{}

func (leastEye) Probe(context.Context, probe.Target) (probe.Verdict, error) {
	return probe.Verdict{Status: probe.Healthy}, nil
}

// What is not there is skipped, and the least that works passes.
func TestTheLeastProberThatWorksPasses(t *testing.T) {
	t.Parallel()
	open := func(context.Context, struct{}) (leastEye, error) { return leastEye{}, nil }
	Probe(t, open, ProbeOptions[struct{}]{})
	for _, name := range []string{"Verdicts", "Failures", "Alone", "Close"} {
		if rec := record(t, probeInProcess(open, ProbeOptions[struct{}]{}), name); rec.Failed() || !rec.skipped || rec.text() == "" {
			t.Errorf("%s: failed %v, skipped %v, %q", name, rec.Failed(), rec.skipped, rec.text())
		}
	}
}

func TestEveryFlawOfAProberIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ flaw, check, want string }{
		{"panics", "Verdict", "Probe panicked: not here"},
		{"third", "Verdict", "Probe of a healthy target: unknown, enough"},
		{"status", "Verdict", "Probe returned Status(7), which is no verdict"},
		{"lines", "Verdict", "a reason that is not one line"},
		{"mute", "Verdict", "Probe returned degraded and gave no reason"},
		{"tells", "Verdict", "the reason of the verdict shows a secret"},
		{"racy timeout", "Verdict", "returned context.Canceled, and its context has not ended"},
		{"writes", "Verdict", "Probe changed the description of its target"},
		{"params", "Verdict", `Probe called "look" with params that are no JSON`},
		{"nil", "Verdict", "returned neither what it makes nor an error"},
		{"blind", "Verdicts", "not ok: got healthy, <nil>, want unhealthy"},
		{"asks", "Unlisted", `Probe called "look", which its target does not list`},
		{"condemns", "Unlisted", "Probe condemned a target that does not list what it calls"},
		{"trusting", "Hostile", "panicked: interface conversion"},
		{"trusting", "Hostile", "that was a target that answers a list"},
		{"quotes", "Hostile", "the reason of the verdict holds data of the resource"},
		{"broken", "Hostile", "Status(7), which is no verdict"},
		{"late", "Late", `Probe called "look" after it had returned`},
		{"untyped", "Failures", "no key: the error holds no *probe.ConfigError of the field key: there is no key"},
		{"untyped", "Failures", "rejected: got the error no, want auth: credentials rejected"},
		{"shows", "Failures", "the error of Probe shows a secret"},
		{"deaf", "Cancellation", "Probe whose context was cancelled: it did not return within"},
		{"deaf to target", "Cancellation", "Probe of a hanging target whose context was cancelled: it did not return within"},
		{"condemns", "Cancellation", "whose context was cancelled condemned its target"},
		{"never waits", "Cancellation", "Stalled: Probe returned before its context ended: healthy"},
		{"deaf", "Deadline", "Probe whose deadline passed: it did not return within"},
		{"deaf to target", "Deadline", "Probe of a hanging target whose deadline passed: it did not return within"},
		{"others", "Alone", "when one caller's context ended, another caller's Probe returned: "},
		{"others with target", "Alone", "when one caller's context ended, another caller's Probe returned: "},
		{"mixes", "Concurrent", "Probe of a healthy target among others: unhealthy: which one was it"},
		{"never ends", "Close", "Close: it did not return within"},
		{"unused", "Close", "Close of an unused prober: nothing was seen"},
		{"used", "Close", "Close: too much was seen"},
		{"open", "Printing", "a printed prober shows a secret"},
		{"leaks", "Goroutines", "goroutines that the plugin started are still there after Close"},
	} {
		t.Run(tt.flaw+" "+tt.check, func(t *testing.T) {
			t.Parallel()
			opts := eyeOptions(t, tt.flaw)
			opts.lull = lull(tt.check)
			if tt.check == "Late" {
				opts.lull = 3 * time.Second
			}
			if strings.HasSuffix(tt.want, " within") || strings.HasSuffix(tt.want, "still there after Close") {
				opts.Patience = never
			}
			rec := record(t, probeInProcess(newEye, opts), tt.check)
			wantFault(t, rec, tt.want)
			if strings.Contains(rec.text(), token) {
				t.Errorf("the kit shows the secret: %s", rec.text())
			}
		})
	}
}
