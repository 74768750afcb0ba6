package sdk

import (
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// desk is a governor whose clocks are the test's.
type desk struct {
	*governor

	now   time.Time
	spent time.Duration
	said  []int
}

func newDesk() *desk {
	d := &desk{now: time.Unix(1, 0)}
	d.governor = &governor{
		all: 8, used: func() time.Duration { return d.spent }, set: func(n int) { d.said = append(d.said, n) },
	}
	d.begin(d.now)
	return d
}

// spend has the program be busy for a share of some looks.
func (d *desk) spend(looks int, share float64) {
	for range looks {
		d.now = d.now.Add(processorsLook)
		d.spent += time.Duration(share * float64(processorsLook))
		d.look(d.now)
	}
}

func (d *desk) want(t *testing.T, when string, said ...int) {
	t.Helper()
	if !slices.Equal(d.said, said) {
		t.Errorf("%s: the processors were set to %v, want %v", when, d.said, said)
	}
}

func TestAPluginHasOneProcessorUntilThatIsNotEnough(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.want(t, "starting")
	d.spend(100, 0.2)
	d.want(t, "calm", 1)
	d.spend(100, 0.65)
	d.want(t, "nearly busy", 1)
	d.spend(1, 0.95)
	d.want(t, "busy", 1, 8)
	d.spend(100, 5)
	d.want(t, "busier than one processor could be", 1, 8)
}

func TestAPluginGivesProcessorsBackWhenItHasBeenCalmForAWhile(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.spend(1, 0.1)
	d.spend(1, 1)
	d.spend(processorsCalm-1, 0.1)
	d.want(t, "not calm for long", 1, 8)
	d.spend(1, 0.8)
	d.spend(processorsCalm-1, 0.1)
	d.want(t, "calm again, with a pause", 1, 8)
	d.spend(1, 0.1)
	d.want(t, "calm for a while", 1, 8, 1)
	d.spend(1, 1)
	d.want(t, "busy again", 1, 8, 1, 8)
}

func TestAPluginThatWasBusyOnceIsCalmAtOnce(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.spend(1, 0.1)
	d.spend(1, 1)
	d.spend(processorsCalm-1, 0.1)
	d.want(t, "not calm for long", 1, 8)
	d.spend(1, 0.1)
	d.want(t, "calm for a while", 1, 8, 1)
}

// What was used before is not counted, nor is a look that comes at the time of the last.
func TestTheFirstLookCountsWhatWasUsedSinceTheStart(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.spent = time.Hour
	d.begin(d.now)
	d.look(d.now)
	d.want(t, "nothing", 1)
}

// A look that is taken late counts what was used over all that time.
func TestALateLookIsNoBusyOne(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.spend(1, 0.1)
	d.now = d.now.Add(10 * time.Second)
	d.spent += time.Second
	d.look(d.now)
	d.want(t, "a tenth of ten seconds", 1)
}

func TestAnIdlePluginIsLookedAtLessOften(t *testing.T) {
	t.Parallel()
	d := newDesk()
	for _, tt := range []struct {
		spent time.Duration
		want  time.Duration
	}{{0, processorsRest}, {processorsRest / 10, processorsLook}, {processorsLook / 100, processorsRest}} {
		d.now = d.now.Add(processorsRest)
		d.spent += tt.spent
		if got := d.look(d.now); got != tt.want {
			t.Errorf("after %v of %v the next look is in %v, want %v", tt.spent, processorsRest, got, tt.want)
		}
	}
}

// The first looks are at a plugin that is busy, the next at one that does nothing.
func TestLooksAreTakenWhenTheLastSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		var spent time.Duration
		var said []int
		g := &governor{all: 8, set: func(n int) { said = append(said, n) }}
		g.used = func() time.Duration {
			at = append(at, time.Since(began))
			if n := len(at); n == 7 {
				runtime.Goexit()
			} else if n < 4 {
				spent = time.Since(began) + time.Hour
			}
			return spent
		}
		go g.run()
		synctest.Wait()
		time.Sleep(time.Hour)
		synctest.Wait()
		const l, r = processorsLook, processorsRest
		// Spent is what it was at the beginning, and grows with the time until the third look.
		if want := []time.Duration{0, l, 2 * l, 3 * l, 3*l + r, 3*l + 2*r, 3*l + 3*r}; !slices.Equal(at, want) {
			t.Errorf("looks at %v, want %v", at, want)
		}
		if len(said) != 0 {
			t.Errorf("the processors were set to %v, of a plugin that was busy and has not been calm for long", said)
		}
	})
}
