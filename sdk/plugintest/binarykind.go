package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/host"
)

// binaryKind is one kind of a binary, and how it is used.
type binaryKind interface {
	kind() string
	common() *suite
	// works is the configuration that works, and stalls the one that waits; nil for none.
	works() host.Instance
	stalls() *host.Instance
	// faulty are the fields that an error of this kind names.
	faulty(err error) []string
	// contract lists the checks of the kind, for instances of a running plugin.
	contract(run *host.Running) []check
	// open opens an instance.
	open(ctx context.Context, run *host.Running, in host.Instance) (closer, error)
	// use is the smallest use of an instance. Its error is something that a caller could
	// not help.
	use(r *report, p closer) call
	// shared tells whether an instance takes calls at the same time.
	shared() bool
	// extra lists the checks that only this kind has.
	extra(b *binarySuite) []check
}

type closer interface {
	Close(ctx context.Context) error
}

// kindChecks lists the checks of one kind.
func (b *binarySuite) kindChecks(k binaryKind) []check {
	s := &suite{patience: b.patience, lull: k.common().lull, secrets: b.secrets}
	var checks []check
	add := func(name string, run func(*report)) {
		checks = append(checks, s.check(k.kind()+"/"+name, run))
	}
	for i, c := range k.contract(nil) {
		checks = append(checks, check{name: k.kind() + "/" + c.name, run: func(tb testing.TB) {
			r := newReport(tb, b.patience, b.secrets)
			run := b.launch(r)
			r.Cleanup(func() { b.unharmed(r, run, k) })
			k.contract(run)[i].run(tb)
		}})
	}
	add("Garbage", func(r *report) { b.garbage(r, k) })
	add("Many", func(r *report) { b.many(r, k) })
	add("Kill", func(r *report) { b.kill(r, k) })
	if canStop {
		add("Stop", func(r *report) { b.stop(r, k) })
	}
	return append(checks, k.extra(b)...)
}

// unharmed sees that the process is the first still: calls are repeated once, so that
// one which ends the plugin may look as if it had gone well. It makes one more itself,
// which waits for the next process if the host has yet to notice that there is none.
func (b *binarySuite) unharmed(r *report, run *host.Running, k binaryKind) {
	r.Helper()
	b.once(r, run, k, "after the others")
	if s := run.Stats(); s.Starts != 1 {
		r.faultf("the plugin ended by itself: it was started %d times, the last time because %s", s.Starts, s.LastFailure)
	}
}

// named gives an instance a name of its own.
func named(in host.Instance) host.Instance {
	in.Name = fmt.Sprintf("%s-%d", in.Name, instances.Add(1))
	return in
}

var instances atomic.Int64 //nolint:gochecknoglobals // tells the names of instances apart

// open opens an instance for the length of a check.
func (b *binarySuite) open(r *report, run *host.Running, k binaryKind, in host.Instance) closer {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), b.patience)
	defer cancel()
	c, err := k.open(ctx, run, in)
	if err != nil {
		r.Fatalf("opening an instance: %v", err)
	}
	r.Cleanup(func() {
		ctx, cancel := short()
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

// caller uses an instance that lives as long as the check.
func (b *binarySuite) caller(r *report, run *host.Running, k binaryKind, in host.Instance) call {
	r.Helper()
	return k.use(r, b.open(r, run, k, in))
}

// once is one use, which has to go well.
func (b *binarySuite) once(r *report, run *host.Running, k binaryKind, when string) {
	r.Helper()
	do := b.caller(r, run, k, k.works())
	r.within("a call "+when, func() {
		if err := do(context.Background()); err != nil {
			r.faultf("a call %s: %v", when, err)
		}
	})
}

// garbage: what is no configuration is refused, and the error says where it is wrong.
func (b *binarySuite) garbage(r *report, k binaryKind) {
	run := b.launch(r)
	refused := func(what, doc, field string) {
		ctx, cancel := context.WithTimeout(context.Background(), b.patience)
		defer cancel()
		p, err := k.open(ctx, run, host.Instance{Name: "garbage", Config: json.RawMessage(doc)})
		switch names := k.faulty(err); {
		case err == nil:
			_ = p.Close(context.Background())
			r.faultf("the plugin takes a configuration with %s", what)
		case len(names) == 0:
			r.faultf("refusing %s, the error is no *%s.ConfigError: %v", what, k.kind(), err)
		case !slices.Contains(names, field) && field != "":
			r.faultf("refusing %s, the error does not name the field %s: %v", what, field, err)
		}
		r.inspectError("the refusal of "+what, err)
	}
	refused("[]", `[]`, "")
	refused("null", `null`, "")
	refused("half an object", `{"`, "")
	refused("a field that does not exist", `{"no_such_field":1}`, "no_such_field")
	var schema struct {
		Properties map[string]struct {
			Type      string `json:"type"`
			WriteOnly bool   `json:"writeOnly"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(kindOf(run.Describe(), k.kind()).Config, &schema); err != nil {
		r.Fatalf("the plugin's schema: %v", err)
	}
	wrong := map[string]string{"string": "7", "integer": `"x"`, "number": `"x"`, "boolean": `"x"`, "array": "7", "object": "7"}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		value, known := wrong[schema.Properties[name].Type]
		if schema.Properties[name].WriteOnly {
			refused("the secret "+name+" in it", `{"`+name+`":"garbage-4711"}`, name)
		} else if known {
			refused("a value of another type in "+name, `{"`+name+`":`+value+`}`, name)
		}
	}
	b.once(r, run, k, "after garbage")
}

// many: instances come and go at the same time.
func (b *binarySuite) many(r *report, k binaryKind) {
	run := b.launch(r)
	r.atOnce("an instance", func(int) {
		for range 2 {
			ctx := context.Background()
			p, err := k.open(ctx, run, k.works())
			if err != nil {
				r.faultf("opening one of %d instances: %v", callers, err)
				return
			}
			if err := k.use(r, p)(ctx); err != nil {
				r.faultf("a call of one of %d instances: %v", callers, err)
			}
			if err := p.Close(ctx); err != nil {
				r.faultf("closing one of %d instances: %v", callers, err)
			}
		}
	})
	b.unharmed(r, run, k)
}

// kill: kill -9 under load costs nobody what could be helped. A call is repeated once, so
// everybody has begun and ended one between two kills.
func (b *binarySuite) kill(r *report, k binaryKind) {
	run := b.launch(r)
	var answers [callers]atomic.Int64
	stop := make(chan struct{})
	var running []<-chan struct{}
	do := b.caller(r, run, k, k.works())
	for n := range callers {
		if n > 0 && !k.shared() {
			do = b.caller(r, run, k, k.works())
		}
		do := do // the next may be another
		running = append(running, r.start("a caller", func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := do(context.Background()); err != nil {
					r.faultf("a call that kill -9 hit: %v", err)
					return
				}
				answers[n].Add(1)
			}
		}))
	}
	for range 3 {
		var before [callers]int64
		for i := range callers {
			before[i] = answers[i].Load()
		}
		served := r.poll(func() bool {
			for i := range callers {
				if answers[i].Load() < before[i]+2 && !r.Failed() {
					return false
				}
			}
			return true
		})
		if !served {
			r.faultf("not every caller was served within %v after kill -9", b.patience)
		}
		b.killOnce(r, run)
	}
	close(stop)
	for _, done := range running {
		r.wait("a caller", done)
	}
	b.killStalled(r, run, k)
	b.once(r, run, k, "after kill -9")
}

// killOnce kills the process and sees the next one start.
func (b *binarySuite) killOnce(r *report, run *host.Running) {
	r.Helper()
	starts := run.Stats().Starts
	killProcess(run.Stats().PID)
	if !r.poll(func() bool { return run.Stats().Starts > starts }) {
		r.faultf("after kill -9, the plugin was not started again within %v", b.patience)
	}
}

// killStalled: a call under way when its process dies is asked of the next one, and
// ends with its context.
func (b *binarySuite) killStalled(r *report, run *host.Running, k binaryKind) {
	if k.stalls() == nil {
		return
	}
	do := b.caller(r, run, k, *k.stalls())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	call := r.start("a call", func() {
		if err := do(ctx); ctx.Err() == nil {
			r.faultf("Stalled: a call ended with kill -9, and was not repeated: %v", err)
		}
	})
	time.Sleep(k.common().lull) // lets it get under way, and proves nothing
	b.killOnce(r, run)
	cancel()
	r.wait("a call whose context was cancelled after kill -9", call)
}

// stop: while the process is stopped, calls end with their deadline; then it is
// replaced.
func (b *binarySuite) stop(r *report, k binaryKind) {
	run := b.launch(r, func(p *host.Plugin) { p.Limits.Health, p.Limits.HealthTimeout = 500*time.Millisecond, time.Second })
	do := b.caller(r, run, k, k.works())
	stopped := run.Stats().PID
	if err := stopProcess(stopped); err != nil {
		r.Fatalf("SIGSTOP: %v", err)
	}
	r.within("a call of a stopped plugin", func() {
		ctx, cancel := context.WithTimeout(context.Background(), moments[1])
		defer cancel()
		if err := do(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			r.faultf("a call of a stopped plugin: %v", err)
		}
	})
	var err error
	answered := r.poll(func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), b.patience)
		defer cancel()
		err = do(ctx)
		return err == nil && run.Stats().PID != stopped
	})
	if !answered {
		r.faultf("a stopped plugin was not replaced within %v: %v", b.patience, err)
	}
}

// killProcess is kill -9 where there is one. A process that is gone is no harm.
func killProcess(pid int) {
	if pid == 0 {
		return
	}
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}
