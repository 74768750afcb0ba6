package sdk

import (
	"slices"
	"testing"
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
