package core

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// ways in which a callback can fail to return.
var ways = map[string]func(){
	"panic":  func() { panic(errBroken) },
	"Goexit": runtime.Goexit,
}

// once returns f for the first call, and nothing after.
func once(f func()) func() {
	var called atomic.Bool
	return func() {
		if called.CompareAndSwap(false, true) {
			f()
		}
	}
}

// exercise uses all that a pool has: opens that fail, retries, a warm-up, probes,
// a reset, closes, the circuit, a leak, a resize.
func exercise(s *stage) {
	if l, err := s.Acquire(context.Background()); err == nil {
		l.Release()
	}
	s.pass(time.Minute)
	_ = s.Do(context.Background(), func(context.Context, *part) error { return errBroken })
	l := s.lease()
	s.pass(time.Minute) // a leak
	l.Release()
	_ = s.Resize(context.Background(), 1, 3)
	s.pass(time.Minute) // probes
	s.lease().Discard(errBroken)
	s.pass(time.Minute)
	s.lease().Release()
	s.pass(time.Minute)
}

func TestAPanicOrGoexitInACallbackIsSurvivedAndReported(t *testing.T) {
	for _, name := range []string{
		"Open", "Warmup", "Close", "Probe", "Reset", "Broken", "Permanent",
		"OpenStart", "OpenEnd", "CloseStart", "CloseEnd", "ProbeStart", "ProbeEnd",
		"CircuitOpened", "CircuitClosed", "Resized", "Leaked", "Panicked",
	} {
		for way, fail := range ways {
			t.Run(name+" "+way, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					fail := once(fail)
					at := func(callback string) {
						if callback == name {
							fail()
						}
					}
					var reports []*PanicError
					cfg := Config[*part]{
						LeakAfter: 30 * time.Second, CircuitFailures: 1,
						Warmup:    func(context.Context, *part) error { at("Warmup"); return nil },
						Close:     func(context.Context, *part) error { at("Close"); return nil },
						Probe:     func(context.Context, *part) error { at("Probe"); return nil },
						Reset:     func(context.Context, *part) error { at("Reset"); return nil },
						Broken:    func(error) bool { at("Broken"); return true },
						Permanent: func(error) bool { at("Permanent"); return false },
						Hooks: Hooks{
							OpenStart:     func(ctx context.Context, _ OpenStart) context.Context { at("OpenStart"); return ctx },
							OpenEnd:       func(context.Context, OpenEnd) { at("OpenEnd") },
							CloseStart:    func(ctx context.Context, _ CloseStart) context.Context { at("CloseStart"); return ctx },
							CloseEnd:      func(context.Context, CloseEnd) { at("CloseEnd") },
							ProbeStart:    func(ctx context.Context, _ ProbeStart) context.Context { at("ProbeStart"); return ctx },
							ProbeEnd:      func(context.Context, ProbeEnd) { at("ProbeEnd") },
							CircuitOpened: func(CircuitOpened) { at("CircuitOpened") },
							CircuitClosed: func(CircuitClosed) { at("CircuitClosed") },
							Resized:       func(Resized) { at("Resized") },
							Leaked:        func(Leaked) { at("Leaked") },
							Panicked: func(e Panicked) {
								same(t, "pool", e.Pool, "pool")
								reports = append(reports, e.Err)
								at("Panicked")
							},
						},
					}
					s := setStage(t, cfg, func(_ context.Context, n int) error {
						at("Open")
						if name == "Panicked" && n == 1 {
							panic("so that there is something to report")
						}
						if n == 1 {
							return errDown
						}
						return nil
					})
					s.claim(within(t, time.Minute)) // the first open fails and opens the circuit
					s.pass(time.Minute)
					exercise(s)
					if len(reports) == 0 {
						t.Fatal("it was not reported")
					}
					panics := uint64(1)
					if name == "Panicked" {
						panics = 2
					} else {
						same(t, "callback", reports[0].Callback, name)
						same(t, "Goexit", reports[0].Goexit, way == "Goexit")
						same(t, "its value", errors.Is(reports[0], errBroken), way == "panic")
						same(t, "stack", len(reports[0].Stack) > 0, way == "panic")
					}
					same(t, "panics", s.Stats().Panics, panics)
					same(t, "abandoned", s.Stats().Abandoned, 0)
				})
			})
		}
	}
}

func TestAPanicIsTheFailureOfItsCallback(t *testing.T) {
	for way, fail := range ways {
		for name, reason := range map[string]CloseReason{"Probe": ReasonProbe, "Reset": ReasonReset, "Broken": ReasonNone} {
			t.Run(name+" "+way, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					cfg := Config[*part]{Max: 1}
					switch name {
					case "Probe":
						cfg.Probe = func(context.Context, *part) error { fail(); return nil }
					case "Reset":
						cfg.Reset = func(context.Context, *part) error { fail(); return nil }
					case "Broken":
						cfg.Broken = func(error) bool { fail(); return true }
					}
					s := setStage(t, cfg, nil)
					is(t, s.Do(t.Context(), func(context.Context, *part) error { return errDown }), errDown)
					s.pass(time.Minute)
					if reason == ReasonNone { // no answer is no
						same(t, "alive", s.Stats().Live, 1)
						return
					}
					same(t, "closed", s.Stats().ClosedBy[reason], s.Stats().Closed)
					if s.Stats().Closed == 0 {
						t.Error("it was not closed")
					}
				})
			})
		}
		for _, name := range []string{"Open", "Warmup"} {
			t.Run(name+" "+way, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					cfg := Config[*part]{OpenRetries: Off}
					cfg.Warmup = func(context.Context, *part) error {
						if name == "Warmup" {
							fail()
						}
						return nil
					}
					s := setStage(t, cfg, func(context.Context, int) error {
						if name == "Open" {
							fail()
						}
						return nil
					})
					e := as[*PanicError](t, as[*OpenError](t, s.claim(t.Context()).failed(t)))
					same(t, "Goexit", e.Goexit, way == "Goexit")
					same(t, "what Warmup had is closed", len(s.ends()), s.made)
				})
			})
		}
	}
}

func TestAPanicOrGoexitInAHookOnTheCallersGoroutineCostsNoCapacity(t *testing.T) {
	for _, name := range []string{"AcquireStart", "AcquireEnd", "Released"} {
		for way, fail := range ways {
			t.Run(name+" "+way, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					fail := once(fail)
					at := func(hook string) {
						if hook == name {
							fail()
						}
					}
					cfg := Config[*part]{Max: 1, Hooks: Hooks{
						AcquireStart: func(ctx context.Context, _ AcquireStart) context.Context { at("AcquireStart"); return ctx },
						AcquireEnd:   func(context.Context, AcquireEnd) { at("AcquireEnd") },
						Released:     func(Released) { at("Released") },
					}}
					s := setStage(t, cfg, nil)
					returned := make(chan bool, 1)
					go func() { // Goexit takes the caller's goroutine along, which is its own affair
						came := false
						defer func() { returned <- came }()
						s.lease().Release()
						came = true
					}()
					same(t, "the caller went on", <-returned, way == "panic")
					synctest.Wait()
					s.lease().Release()
					same(t, "panics", s.Stats().Panics > 0, way == "panic")
				})
			})
		}
	}
}

func TestAHungCallbackIsAbandonedAtItsDeadline(t *testing.T) {
	const timeout = 3 * time.Second
	for name, reason := range map[string]CloseReason{"Probe": ReasonProbe, "Reset": ReasonReset, "Close": ReasonDiscarded} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				hang := once(func() { time.Sleep(10 * time.Minute) })
				cfg := Config[*part]{Max: 1, ProbeInterval: time.Second, ProbeTimeout: timeout, ResetTimeout: timeout, CloseTimeout: timeout}
				callback := func(ctx context.Context, _ *part) error {
					if d, _ := ctx.Deadline(); time.Until(d) != timeout {
						t.Errorf("%s has %v, not %v", name, time.Until(d), timeout)
					}
					hang()
					return nil
				}
				causes := make(chan error, 10)
				cfg.Hooks.CloseEnd = func(_ context.Context, e CloseEnd) { causes <- errors.Join(e.Cause, e.Err) }
				switch name {
				case "Probe":
					cfg.Probe = callback
				case "Reset":
					cfg.Reset = callback
				case "Close":
					cfg.Close = callback
				}
				if name == "Close" { // with Max of them outstanding nothing would be opened
					cfg.Max = 2
				}
				s := setStage(t, cfg, nil)
				for range cfg.Max - 1 {
					defer s.lease().Release()
				}
				l := s.lease()
				if name == "Close" {
					l.Discard(nil)
				} else {
					l.Release()
				}
				if name == "Probe" {
					s.until(time.Second)
				}
				began := s.at()
				c := s.claim(t.Context())
				s.pass(timeout + grace)
				same(t, "when the place was free", c.at-began, timeout+grace)
				same(t, "abandoned", s.Stats().Abandoned, 1)
				same(t, "closed", s.Stats().ClosedBy[reason], uint64(1))
				same(t, "what the hook was told", *as[*TimeoutError](t, <-causes), TimeoutError{name, timeout})
				c.got(t).Release()
				s.pass(10 * time.Minute)
				same(t, "abandoned", s.Stats().Abandoned, 0)
			})
		})
	}
}

func TestAHungHookHoldsNobodyUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := Config[*part]{CloseTimeout: time.Second}
		cfg.Hooks.Resized = func(Resized) { time.Sleep(time.Minute) }
		s := setStage(t, cfg, nil)
		for range 2 * maxEvents {
			_ = s.Resize(t.Context(), 0, 5)
		}
		s.lease().Release()
		same(t, "time it took", s.at(), 0*time.Second)
		synctest.Wait()
		if dropped := s.Stats().DroppedEvents; dropped < maxEvents-2 || dropped > maxEvents {
			t.Errorf("%d events were dropped", dropped)
		}
		began := s.at()
		if e := as[*CloseError](t, s.Close(t.Context())); e.Abandoned == 0 {
			t.Errorf("Close does not count the hung hook: %v", e)
		}
		between(t, "Close", s.at()-began, 0, 2*(time.Second+grace))
		s.lapse = true
	})
}
