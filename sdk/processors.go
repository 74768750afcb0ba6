package sdk

import (
	"os"
	"runtime"
	"time"
)

const (
	// processorsLook is how often the processor time is looked at while something happens,
	// and processorsRest while nothing does.
	processorsLook, processorsRest = 20 * time.Millisecond, 200 * time.Millisecond
	// processorsEnough is the share of the time that one processor may be busy for.
	processorsEnough = 0.7
	// processorsCalm is for how many looks one has to be enough.
	processorsCalm = 25
	// processorsIdle is the share that is nothing.
	processorsIdle = 0.02
)

// governor keeps the program on one processor as long as that is enough. A plugin mostly
// waits, for its host or for a server, and with idle processors beside, Go wakes a thread
// on another one for each goroutine that a message passes on its way: up to a third of the time
// of a short call.
type governor struct {
	all  int                  // processors that there are for us
	used func() time.Duration // processor time of this process so far
	set  func(n int)

	one  bool
	calm int // looks in a row at which one would have been enough
	last time.Duration
	at   time.Time
}

// govern starts a governor for the life of the program, unless somebody has said how many
// processors it is to have. Starting takes all there are.
func govern() {
	all := runtime.GOMAXPROCS(0)
	if _, said := os.LookupEnv("GOMAXPROCS"); said || all == 1 || !knowsProcessorTime {
		return
	}
	g := &governor{all: all, used: processorTime, set: func(n int) { runtime.GOMAXPROCS(n) }}
	go g.run()
}

func (g *governor) run() {
	g.begin(time.Now())
	for pause := processorsLook; ; {
		time.Sleep(pause)
		pause = g.look(time.Now())
	}
}

func (g *governor) begin(now time.Time) {
	g.calm, g.last, g.at = processorsCalm-1, g.used(), now
}

// look decides with what was used since the last look, and says when to take the next.
func (g *governor) look(now time.Time) time.Duration {
	used := g.used()
	share := float64(used-g.last) / float64(max(now.Sub(g.at), 1))
	g.last, g.at = used, now
	enough := share <= processorsEnough
	switch {
	case g.one && !enough:
		g.one, g.calm = false, 0
		g.set(g.all)
	case g.one:
	case !enough:
		g.calm = 0
	default:
		if g.calm++; g.calm == processorsCalm {
			g.one = true
			g.set(1)
		}
	}
	if share < processorsIdle {
		return processorsRest
	}
	return processorsLook
}
