package sdk

import (
	"sync"
	"time"
)

// turnLook is how often a look is taken, while things are done, at what is being done. What
// is still the same at the next look takes long.
const turnLook = 5 * time.Millisecond

// turn is the right to receive from a stream. The goroutine that has it does what it received,
// which spares a switch of goroutines; if that takes long, it loses the turn, so that it
// stands in nobody's way. A timer for each thing would cost more than most of them.
type turn struct {
	// lost is called when the turn was taken away: somebody else has to have it. Until it
	// returns, end does not, so that the goroutine which lost it is counted still.
	lost  func()
	timer *time.Timer

	mu      sync.Mutex
	doing   uint64 // guarded by mu; the number of what is done, 0 for nothing
	last    uint64 // guarded by mu; the last number
	seen    uint64 // guarded by mu; last, at the last look
	looking bool   // guarded by mu; a look is going to be taken
}

func newTurn(lost func()) *turn {
	t := &turn{lost: lost}
	t.timer = time.AfterFunc(time.Hour, t.look)
	t.timer.Stop()
	return t
}

// begin says that something is going to be done, and returns its number.
func (t *turn) begin() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	t.doing = t.last
	if !t.looking {
		t.looking = true
		t.timer.Reset(turnLook)
	}
	return t.doing
}

// end says that it was done, and reports whether the turn is still his who did it.
func (t *turn) end(number uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.doing != number {
		return false
	}
	t.doing = 0
	return true
}

// look takes the turn away from who is at the same thing as at the last look. Where
// nothing happened since then, it is the last.
func (t *turn) look() {
	t.mu.Lock()
	defer t.mu.Unlock()
	stuck := t.doing != 0 && t.doing == t.seen
	if stuck {
		t.doing = 0
	}
	t.looking = stuck || t.doing != 0 || t.last != t.seen
	t.seen = t.last
	if t.looking {
		t.timer.Reset(turnLook)
	}
	if stuck {
		t.lost()
	}
}

// stop ends the looks. One that is being taken may still go on.
func (t *turn) stop() { t.timer.Stop() }
