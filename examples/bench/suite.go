package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A suite is a set of cases that are measured and judged together.
type suite struct {
	name    string
	cases   []benchCase
	targets []target
}

// A benchCase is one thing to do, which several implementations do in turn.
type benchCase struct {
	name       string
	about      string // a few words for the table
	goroutines int
	stepwise   bool // one operation at a time between looks at the stop flag, for operations that wait
	fair       bool // measure fairness; implies that every goroutine gets fairQuota operations
	turns      bool // one goroutine, the implementations take short turns; see turns.go
	quiet      bool // garbage is collected between turns, not in them
	impls      []impl

	rounds   int           // at most so many, where one says enough; 0 for no limit
	duration time.Duration // at least, where operations take long
}

// An impl takes part in a case. Its open is called anew for every measurement,
// so that no round inherits another's luck with memory layout.
type impl struct {
	name string
	open func() (*fixture, error)
	// once, in place of open, makes the whole measurement, where that is not a
	// matter of operations in a row.
	once func() (sample, error)
}

// A fixture is an implementation made ready for one measurement.
type fixture struct {
	// worker returns what goroutine g does: n operations in a row. It is called
	// before the clock starts; what it returns runs on one goroutine. Each
	// implementation has its own loop over n, so that no call through a function
	// value is charged to operations of a few nanoseconds.
	worker func(g int) func(n int) error
	// close may be nil. An error of it fails the measurement.
	close func() error
}

// filter keeps the cases and implementations named; empty lists keep all.
func (s *suite) filter(cases, impls []string) error {
	if err := s.known(cases, impls); err != nil {
		return err
	}
	kept := s.cases[:0]
	for _, c := range s.cases {
		if len(cases) > 0 && !slices.Contains(cases, c.name) {
			continue
		}
		c.impls = slices.DeleteFunc(c.impls, func(im impl) bool {
			return len(impls) > 0 && !slices.Contains(impls, im.name)
		})
		if len(c.impls) > 0 {
			kept = append(kept, c)
		}
	}
	s.cases = kept
	if len(s.cases) == 0 {
		return fmt.Errorf("nothing to measure: none of these cases has any of these implementations")
	}
	return nil
}

func (s *suite) known(cases, impls []string) error {
	var caseNames, implNames []string
	for _, c := range s.cases {
		caseNames = append(caseNames, c.name)
		for _, im := range c.impls {
			if !slices.Contains(implNames, im.name) {
				implNames = append(implNames, im.name)
			}
		}
	}
	for _, name := range cases {
		if !slices.Contains(caseNames, name) {
			return fmt.Errorf("no case %q: there are %s", name, strings.Join(caseNames, ", "))
		}
	}
	for _, name := range impls {
		if !slices.Contains(implNames, name) {
			return fmt.Errorf("no implementation %q: there are %s", name, strings.Join(implNames, ", "))
		}
	}
	return nil
}

// run measures every case in every round, and in it every implementation once,
// another one first each time: what disturbs the machine disturbs all alike, and
// ratios can be taken within a round, between cases too.
func (s *suite) run(rounds int, d time.Duration, progress io.Writer) (*results, error) {
	res := newResults(s.name, rounds, s.cases)
	start := time.Now()
	noted := make(map[[2]string]bool)
	for round := range rounds {
		for _, c := range s.cases {
			if c.rounds > 0 && round >= c.rounds {
				continue
			}
			if c.turns {
				samples, err := c.measureTurns(round, max(d, c.duration))
				if err != nil {
					return nil, fmt.Errorf("%s, round %d: %w", c.name, round+1, err)
				}
				for i, im := range c.impls {
					res.add(c.name, im.name, samples[i])
				}
				continue
			}
			for i := range c.impls {
				im := c.impls[(round+i)%len(c.impls)]
				smp, err := c.measure(im, max(d, c.duration))
				if err != nil {
					return nil, fmt.Errorf("%s, %s, round %d: %w", c.name, im.name, round+1, err)
				}
				if who := [2]string{c.name, im.name}; smp.starved && !noted[who] {
					noted[who] = true
					fmt.Fprintf(progress, "note: %s, %s: a goroutine got fewer than %d operations\n", c.name, im.name, fairQuota)
				}
				res.add(c.name, im.name, smp)
			}
		}
		fmt.Fprintf(progress, "%s: round %d of %d, %v\n", s.name, round+1, rounds, time.Since(start).Round(time.Second))
	}
	return res, nil
}
