package plugintest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"
)

// check is one thing to find out.
type check struct {
	name string
	run  func(testing.TB)
}

// runAll makes a subtest of each check.
func runAll(t *testing.T, checks []check) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.run(t) })
	}
}

// suite is what the checks of all kinds have in common.
type suite struct {
	patience time.Duration
	// lull is how long calls get to be under way. Whoever takes longer is not found out,
	// and never blamed.
	lull    time.Duration
	secrets *secrets
}

const (
	// defaultPatience is what only a plugin at fault uses up, on a machine however busy.
	defaultPatience = 2 * time.Minute
	defaultLull     = 20 * time.Millisecond
)

// check makes a check of a function.
func (s *suite) check(name string, run func(*report)) check {
	return check{name: name, run: func(tb testing.TB) { run(newReport(tb, s.patience, s.secrets)) }}
}

// factory makes plugins of a configuration.
type factory[C, V any] func(ctx context.Context, cfg C) (V, error)

// errNothing is what a factory that returns nil is said to have returned.
var errNothing = errors.New("plugintest: the factory returned neither what it makes nor an error")

// factoryOf is a factory of the interface V.
func factoryOf[V, C, P any](open func(ctx context.Context, cfg C) (P, error)) factory[C, V] {
	return func(ctx context.Context, cfg C) (none V, err error) {
		p, err := open(ctx, cfg)
		if err != nil {
			return none, err
		}
		if v := reflect.ValueOf(p); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
			return none, errNothing
		}
		return any(p).(V), nil //nolint:forcetypeassert,errcheck // the exported function has the constraint
	}
}

// make calls a factory. Its context ends with the call.
func (open factory[C, V]) make(r *report, cfg C) (V, error) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), r.patience)
	defer cancel()
	var v V
	err := errors.New("the factory did not return")
	if !r.within("the factory", func() { v, err = open(ctx, cfg) }) {
		r.FailNow()
	}
	r.inspectError("the factory", err)
	return v, err
}

// moments are when contexts end: before the call, while it begins, and when it has
// surely begun.
var moments = []time.Duration{0, time.Millisecond, 20 * time.Millisecond, 200 * time.Millisecond}

// ending makes a context that ends after a time, in one of the two ways.
func ending(how error, after time.Duration) (context.Context, context.CancelFunc) {
	if errors.Is(how, context.DeadlineExceeded) {
		return context.WithTimeout(context.Background(), after)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if after == 0 {
		cancel()
		return ctx, cancel
	}
	timer := time.AfterFunc(after, cancel)
	return ctx, func() { timer.Stop(); cancel() }
}

// ended says what became of a context that ends with err.
func ended(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "whose deadline passed"
	}
	return "whose context was cancelled"
}

// call is the smallest use of a plugin.
type call func(ctx context.Context) error

// ends: a call ends soon after its context, at whatever moment that is, and says so.
// One that stalls may not come to any other end.
func (r *report) ends(what string, how error, do call, stalls bool) {
	r.Helper()
	for _, after := range moments {
		ctx, cancel := ending(how, after)
		r.within(what+" "+ended(how), func() {
			err := do(ctx)
			switch {
			case err == nil && stalls:
				r.faultf("Stalled: %s succeeded, and should have to wait", what)
			case err == nil || errors.Is(err, how): // the plugin's clock may be a little ahead
			case ctx.Err() == nil:
				r.faultf("%s failed before its context ended: %v", what, err)
			default:
				r.faultf("%s %s returned another error: %v", what, ended(how), err)
			}
		})
		cancel()
		if r.Failed() || !stalls { // from memory, it may succeed at any moment
			return
		}
	}
}

// alone: the end of one caller is not that of another. Both calls stall.
func (s *suite) alone(r *report, what string, one, two call) {
	first, endFirst := context.WithCancel(context.Background())
	second, endSecond := context.WithCancel(context.Background())
	defer endFirst()
	defer endSecond()
	before := r.start(what, func() { _ = one(first) })
	after := r.start(what, func() {
		err := two(second)
		if second.Err() == nil {
			r.faultf("when one caller's context ended, another caller's %s returned: %v", what, err)
		}
	})
	time.Sleep(s.lull) // lets both get under way, and proves nothing
	endFirst()
	r.wait(what+" whose context was cancelled", before)
	time.Sleep(s.lull)
	endSecond()
	r.wait(what+" whose context was cancelled", after)
}

// faulty returns the fields that the configuration errors of one kind in err name.
func faulty(err error, of func(error) (field string, ok bool)) []string {
	var all []string
	if err == nil {
		return nil
	}
	if field, ok := of(err); ok {
		all = append(all, field)
	}
	//nolint:errorlint // it is the tree that is walked
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, faulty(inner, of)...)
		}
	case interface{ Unwrap() error }:
		all = append(all, faulty(e.Unwrap(), of)...)
	}
	return all
}

// callers and rounds are how much happens at the same time.
const callers, rounds = 8, 4

// atOnce has callers do something at the same time.
func (r *report) atOnce(what string, do func(n int)) {
	r.Helper()
	began := make(chan struct{})
	var running []<-chan struct{}
	for n := range callers {
		running = append(running, r.start(what+" among others", func() {
			<-began
			do(n)
		}))
	}
	close(began)
	for _, done := range running {
		r.wait(what+" among others", done)
	}
}

// short is a context for a Close that may wait for what is under way until it ends.
func short() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), moments[3])
}
