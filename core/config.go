package core

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Resource is what a Pool holds: anything that can be closed.
//
// A resource may have two more abilities, found by interface when the pool is
// made and overridden by the Config field of the same name:
//
//	Probe(ctx context.Context) error // is it still good? an error retires it, except ErrDegraded and ErrUnknown
//	Reset(ctx context.Context) error // make it fit for the next holder; an error retires it
type Resource interface {
	Close() error
}

// Off turns a feature off where its zero value would mean a default.
// It fits integer and time.Duration fields alike.
const Off = -1

// Config says what a Pool holds and how it behaves. Only Open is required. The
// zero value of every other field means the default its comment gives, Off (-1)
// means none, and any other negative value is an error. New copies the Config.
//
// Callbacks run on goroutines of the pool, never under a lock, each with a
// deadline; one that ignores its context is abandoned shortly after it ends. A
// panic or runtime.Goexit in a callback is recovered, counted in Stats.Panics,
// and taken as that callback's failure.
type Config[T Resource] struct {
	// Name appears in errors and hook events. Default: "pool".
	Name string

	// Open makes one resource. Its context ends after OpenTimeout or when the
	// pool closes, and carries nothing of the caller that happened to ask. It is
	// called from at most MaxOpening goroutines at once, abandoned calls aside.
	// Required.
	Open func(ctx context.Context) (T, error)

	// Close ends a resource. Its context ends after CloseTimeout.
	// Default: the resource's own Close method.
	Close func(ctx context.Context, res T) error

	// Warmup prepares a new resource before anyone gets it, within the same
	// OpenTimeout as Open. An error closes the resource and fails the attempt.
	Warmup func(ctx context.Context, res T) error

	// Probe tells whether an idle resource is still good; an error retires it, but
	// for ErrDegraded and ErrUnknown, which see.
	// Default: the resource's Probe method, if it has one.
	Probe func(ctx context.Context, res T) error

	// Reset readies a resource for its next holder, after the last lease on it
	// came back; an error retires it. Default: the resource's Reset method, if it
	// has one.
	Reset func(ctx context.Context, res T) error

	// Broken tells whether an error returned by the function given to Pool.Do
	// means that the resource is of no more use. Do waits for the answer.
	// Default: no error does.
	Broken func(err error) bool

	// Permanent tells whether an error of Open will not go away by trying again,
	// so that no retry is made. Default: no error is permanent.
	Permanent func(err error) bool

	// Min is how many resources the pool keeps open. Default: 0.
	Min int
	// Max is how many resources may exist at once, those being opened and closed
	// included. Default: 10. Off: no limit.
	Max int
	// ShareLimit is how many leases one resource carries at once, at most 4095.
	// Default: 1, every lease has its resource to itself.
	ShareLimit int
	// GrowAt is the number of leases on a resource from which on others are
	// preferred and another is opened in the background. Default: half of
	// ShareLimit, rounded up.
	GrowAt int
	// MaxOpening is how many opens may run at once. Default: 4.
	MaxOpening int
	// MaxAffinityKeys bounds how many affinity keys are remembered; past it the
	// least recently used is forgotten. Default: 10,000.
	MaxAffinityKeys int

	// AcquireTimeout bounds the wait in Acquire beside the caller's context.
	// Default: none, the context decides.
	AcquireTimeout time.Duration

	// OpenTimeout bounds one attempt: Open and Warmup together. Default: 10 s.
	OpenTimeout time.Duration
	// OpenRetries is how many more attempts an open makes after a failed one.
	// Default: 2.
	OpenRetries int
	// RetryMin and RetryMax bound the jittered, doubling pause between attempts,
	// which cannot be off. Defaults: 100 ms and 2 s.
	RetryMin, RetryMax time.Duration

	// CircuitFailures is how many failures in a row open the circuit. Attempts
	// that overlap a failure already counted do not count again. Default: 5.
	CircuitFailures int
	// CircuitMin and CircuitMax bound the jittered, doubling pause before the
	// next trial while the circuit is open, which cannot be off. Defaults: 1 s and
	// 30 s.
	CircuitMin, CircuitMax time.Duration

	// CloseTimeout bounds closing one resource. Default: 5 s.
	CloseTimeout time.Duration
	// ResetTimeout bounds one Reset. Default: 5 s.
	ResetTimeout time.Duration

	// ProbeInterval is how often an idle resource is probed. Default: 30 s.
	ProbeInterval time.Duration
	// ProbeTimeout bounds one Probe. Default: 5 s.
	ProbeTimeout time.Duration
	// MaxProbing is how many resources may be out for a periodic probe at once.
	// Default: 1.
	MaxProbing int
	// MaxCondemnedShare is which share of the live resources periodic probes may
	// retire within one ProbeInterval, at least one resource. What fails beyond that
	// is kept, not preferred and probed again, so that a probe which is broken itself
	// does not empty the pool. Default: 0.5. Off, or 1: all of them.
	MaxCondemnedShare float64
	// ProbeAfterIdle has a resource probed before it is leased once it has been
	// idle this long. Default: off.
	ProbeAfterIdle time.Duration

	// MaxLifetime is the age at which a resource is retired, less a jitter of up
	// to a tenth drawn once for each resource. Default: 1 h.
	MaxLifetime time.Duration
	// RecycleWindow is how long before the end of its lifetime the replacement of
	// a resource begins. Default: 30 s, at most half of MaxLifetime.
	RecycleWindow time.Duration
	// MaxIdleTime is how long a resource beyond Min may stay idle. Default: 10 min.
	MaxIdleTime time.Duration
	// LeakAfter has a lease reported (never taken away) that was held this long.
	// Default: off.
	LeakAfter time.Duration
	// Stacks records the stack of every Acquire, for the leak report. It costs
	// some 300 ns and an allocation a lease.
	Stacks bool

	// Degrade lets callers through while the pool cannot warm up: until Min is
	// first reached, leases get one-off resources, opened without Warmup within
	// every limit and closed on release.
	Degrade bool

	// Hooks observe the pool. Unset hooks cost nothing; JoinHooks makes one of
	// several.
	Hooks Hooks
}

const (
	maxShare    = 1<<12 - 1
	unlimited   = math.MaxInt32 / 2 // "no limit", and still safe to add to
	never       = time.Duration(math.MaxInt64)
	defaultName = "pool"
)

// withDefaults returns c with every default filled in and every "off" turned
// into the value that the code compares with, or all its faults at once.
func (c Config[T]) withDefaults() (Config[T], error) {
	f := faults{}
	if c.Open == nil {
		f.add("Open", nil, "is required: give the function that makes one resource")
	}
	if c.Name == "" {
		c.Name = defaultName
	}
	if c.Close == nil {
		c.Close = func(_ context.Context, res T) error { return res.Close() }
	}

	f.count("Min", &c.Min, 0, 0)
	f.count("Max", &c.Max, 10, unlimited)
	f.count("ShareLimit", &c.ShareLimit, 1, 1)
	f.count("GrowAt", &c.GrowAt, (c.ShareLimit+1)/2, c.ShareLimit)
	f.count("MaxOpening", &c.MaxOpening, 4, unlimited)
	f.count("MaxAffinityKeys", &c.MaxAffinityKeys, 10_000, 0)
	f.count("OpenRetries", &c.OpenRetries, 2, 0)
	f.count("CircuitFailures", &c.CircuitFailures, 5, unlimited)
	f.count("MaxProbing", &c.MaxProbing, 1, 0)
	f.share("MaxCondemnedShare", &c.MaxCondemnedShare, 0.5)
	f.span("AcquireTimeout", &c.AcquireTimeout, never)
	f.span("OpenTimeout", &c.OpenTimeout, 10*time.Second)
	f.pause("Retry", &c.RetryMin, &c.RetryMax, 100*time.Millisecond, 2*time.Second, "OpenRetries")
	f.pause("Circuit", &c.CircuitMin, &c.CircuitMax, time.Second, 30*time.Second, "CircuitFailures")
	f.span("CloseTimeout", &c.CloseTimeout, 5*time.Second)
	f.span("ResetTimeout", &c.ResetTimeout, 5*time.Second)
	f.span("ProbeInterval", &c.ProbeInterval, 30*time.Second)
	f.span("ProbeTimeout", &c.ProbeTimeout, 5*time.Second)
	f.span("ProbeAfterIdle", &c.ProbeAfterIdle, never)
	f.span("MaxLifetime", &c.MaxLifetime, time.Hour)
	f.span("RecycleWindow", &c.RecycleWindow, min(30*time.Second, c.MaxLifetime/2))
	f.span("MaxIdleTime", &c.MaxIdleTime, 10*time.Minute)
	f.span("LeakAfter", &c.LeakAfter, never)

	// A value that is at fault itself is compared with none.
	if c.Min > c.Max && c.Max >= 0 {
		f.add("Min", c.Min, fmt.Sprintf("is more than Max (%d): lower Min or raise Max", c.Max))
	}
	if c.ShareLimit > maxShare {
		f.add("ShareLimit", c.ShareLimit, fmt.Sprintf("is more than %d", maxShare))
	}
	if c.GrowAt > c.ShareLimit && c.ShareLimit > 0 {
		f.add("GrowAt", c.GrowAt, fmt.Sprintf("is more than ShareLimit (%d)", c.ShareLimit))
	}
	if c.MaxLifetime != never && c.MaxLifetime >= 0 && c.RecycleWindow != never && c.RecycleWindow >= c.MaxLifetime {
		f.add("RecycleWindow", c.RecycleWindow, fmt.Sprintf("is not less than MaxLifetime (%v)", c.MaxLifetime))
	}
	if c.RecycleWindow == never { // off: replaced at the end, not before
		c.RecycleWindow = 0
	}
	mayProbe, _ := abilities[T]()
	mayProbe = mayProbe || c.Probe != nil
	if c.ProbeAfterIdle != never && c.ProbeAfterIdle >= 0 && !mayProbe {
		f.add("ProbeAfterIdle", c.ProbeAfterIdle, "is set without a Probe: set Config.Probe or give the resource a Probe method")
	}
	if !mayProbe || c.MaxProbing == 0 {
		c.ProbeInterval = never
	}
	return c, errors.Join(f.list...)
}

type (
	prober interface {
		Probe(ctx context.Context) error
	}
	resetter interface {
		Reset(ctx context.Context) error
	}
)

// abilities tells which optional methods a T may have. Where T is an interface
// that does not say, each value has to be asked.
func abilities[T Resource]() (probes, resets bool) {
	var zero T
	if any(zero) == nil {
		return true, true
	}
	_, probes = any(zero).(prober)
	_, resets = any(zero).(resetter)
	return probes, resets
}

// faults collects what is wrong with a Config.
type faults struct{ list []error }

func (f *faults) add(field string, value any, problem string) {
	f.list = append(f.list, &ConfigError{Field: field, Value: value, Problem: problem})
}

// count checks a size and fills in what zero and Off stand for.
func (f *faults) count(field string, v *int, zero, off int) {
	switch {
	case *v == 0:
		*v = zero
	case *v == Off:
		*v = off
	case *v < 0:
		f.add(field, *v, "is negative: use 0 for the default or -1 for none")
	case *v > unlimited:
		*v = unlimited
	}
}

// share checks a part of a whole and fills in what zero and Off stand for.
func (f *faults) share(field string, v *float64, zero float64) {
	switch {
	case *v == 0:
		*v = zero
	case *v == Off:
		*v = 1
	case !(*v > 0 && *v <= 1): // NaN neither
		f.add(field, *v, "is not between 0 and 1: use 0 for the default or -1 for no limit")
	}
}

// span checks a duration and fills in what zero stands for; Off means never.
func (f *faults) span(field string, v *time.Duration, zero time.Duration) {
	switch {
	case *v == 0:
		*v = zero
	case *v == Off, *v > never/4: // so that times can be added up
		*v = never
	case *v < 0:
		f.add(field, *v, "is negative: use 0 for the default or -1 for off")
	}
}

// pause checks the bounds of a pause, which cannot be off by itself: what is to be
// turned off instead is the field of that name.
func (f *faults) pause(name string, low, high *time.Duration, zeroLow, zeroHigh time.Duration, instead string) {
	f.span(name+"Min", low, zeroLow)
	if *low != never {
		zeroHigh = max(zeroHigh, *low)
	}
	f.span(name+"Max", high, zeroHigh)
	off := "is off, and a pause cannot be: turn " + instead + " off instead"
	if *low == never {
		f.add(name+"Min", Off, off)
	}
	if *high == never {
		f.add(name+"Max", Off, off)
	}
	if *low > *high && *high >= 0 && *low != never {
		f.add(name+"Min", *low, fmt.Sprintf("is more than %sMax (%v)", name, *high))
	}
}
