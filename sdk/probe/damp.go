package probe

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Damping says how many equal answers it takes to believe one. The zero value of
// each field means its default; 1 believes at once.
type Damping struct {
	// UnhealthyAfter is how many probes in a row have to fail before a resource is
	// called unhealthy. Until then it is degraded. Default: 2.
	UnhealthyAfter int `json:"unhealthy_after,omitempty"`
	// HealthyAfter is how many probes in a row have to go well before a resource
	// that was degraded is called healthy again. Default: 2.
	HealthyAfter int `json:"healthy_after,omitempty"`
	// MaxTargets bounds how many resources are remembered; past it those looked at
	// longest ago are forgotten. Default: 10,000.
	MaxTargets int `json:"max_targets,omitempty"`
}

// Damp returns a prober that asks p and damps what it says, for each target by its
// pool and ID. Unknown verdicts and errors change nothing of what is remembered.
func Damp(p Prober, d Damping) (Prober, error) {
	var errs []error
	if p == nil {
		errs = append(errs, ErrNil)
	}
	for _, f := range []struct {
		name string
		v    *int
		zero int
	}{{"UnhealthyAfter", &d.UnhealthyAfter, 2}, {"HealthyAfter", &d.HealthyAfter, 2}, {"MaxTargets", &d.MaxTargets, 10_000}} {
		switch {
		case *f.v == 0:
			*f.v = f.zero
		case *f.v < 0:
			errs = append(errs, &ConfigError{Field: f.name, Problem: fmt.Sprintf("is %d: give at least 1, or 0 for the default", *f.v)})
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &damper{prober: p, cfg: d, known: make(map[[2]string]*record)}, nil
}

// damper remembers the last verdicts on each target.
type damper struct {
	// Immutable after creation.
	prober Prober
	cfg    Damping

	mu    sync.Mutex
	turn  uint64                // guarded by mu
	known map[[2]string]*record // guarded by mu
}

// record is what is remembered of one target.
type record struct {
	bad, good int    // in a row
	doubted   bool   // not healthy in the eyes of whoever asked last
	seen      uint64 // the turn of the last probe
}

func (d *damper) Probe(ctx context.Context, target Target) (Verdict, error) {
	v, err := d.prober.Probe(ctx, target)
	if err != nil || v.Status == Unknown {
		return v, err //nolint:wrapcheck // it stands in for what it wraps
	}
	about := target.Describe()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.damp(d.recordLocked([2]string{about.Pool, about.ID}), v), nil
}

// damp turns what was found into what is believed.
func (d *damper) damp(r *record, v Verdict) Verdict {
	switch v.Status {
	case Unhealthy:
		r.good = 0
		r.bad++
		r.doubted = true
		if r.bad < d.cfg.UnhealthyAfter {
			return Verdict{Status: Degraded, Reason: fmt.Sprintf("%d of %d failures: %s", r.bad, d.cfg.UnhealthyAfter, v.Reason)}
		}
	case Degraded:
		r.bad, r.good, r.doubted = 0, 0, true
	case Healthy:
		r.bad = 0
		r.good++
		if r.doubted && r.good < d.cfg.HealthyAfter {
			return Verdict{Status: Degraded, Reason: fmt.Sprintf("healthy again, %d of %d times", r.good, d.cfg.HealthyAfter)}
		}
		r.doubted = false
	case Unknown:
	}
	return v
}

// recordLocked returns what is known of a target, with nothing in it if that is
// nothing. REQUIRES: d.mu.
func (d *damper) recordLocked(key [2]string) *record {
	d.turn++
	r := d.known[key]
	if r == nil {
		if len(d.known) >= d.cfg.MaxTargets {
			d.forgetLocked()
		}
		r = &record{}
		d.known[key] = r
	}
	r.seen = d.turn
	return r
}

// forgetLocked forgets the tenth of the targets that was looked at longest ago,
// one at least: a resource that is gone is never looked at again, and looking for
// the oldest each time would cost more than it is worth. REQUIRES: d.mu.
func (d *damper) forgetLocked() {
	oldest := d.turn
	for _, r := range d.known {
		oldest = min(oldest, r.seen)
	}
	until := oldest + (d.turn-oldest)/10
	for key, r := range d.known {
		if r.seen <= until {
			delete(d.known, key)
		}
	}
}
