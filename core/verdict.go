package core

import (
	"errors"
	"math"
)

// What a Probe may also return, as it is or wrapped, for a resource that is to be
// kept. Other errors do the same if they have a method Degraded() bool or
// Unknown() bool that returns true, so that who writes a probe need not know this
// package.
var (
	// ErrDegraded says that the resource is to be kept but not preferred: leases go
	// to others as long as there are any free. The next probe that returns nil
	// clears that.
	ErrDegraded error = verdictError("core: the resource is degraded")
	// ErrUnknown says that nothing was found out: the resource stays as it was.
	ErrUnknown error = verdictError("core: the state of the resource is unknown")
)

type verdictError string

func (e verdictError) Error() string  { return string(e) }
func (e verdictError) Degraded() bool { return errors.Is(e, ErrDegraded) }
func (e verdictError) Unknown() bool  { return errors.Is(e, ErrUnknown) }

// errUnasked is the verdict of a probe that was cut short by the pool itself. It
// counts for nothing.
var errUnasked = errors.New("core: the probe was cut short")

// isDegraded tells whether a probe wants the resource kept but not preferred.
func isDegraded(err error) bool {
	var e interface{ Degraded() bool }
	return errors.As(err, &e) && e.Degraded()
}

// isUnknown tells whether a probe found nothing out.
func isUnknown(err error) bool {
	var e interface{ Unknown() bool }
	return errors.As(err, &e) && e.Unknown()
}

// concludeLocked draws the conclusion of a probe of s: it returns the error that s
// is to be retired for, or nil if it stays, and says whether it is preferred. wanted
// tells that a caller waits for the slot.
//
// A probe may lie: it may be the prober that is broken, or the way to what it looks
// at. So of the periodic ones at most a share may condemn what they look at within
// one interval; what fails beyond that is kept but not preferred, and looked at again.
// A probe before a lease is exempt: it is there so that nobody gets a resource that
// failed it, and whoever asked waits for another meanwhile.
// REQUIRES: the lock.
func (p *Pool[T]) concludeLocked(s *slot[T], err error, wanted bool) error {
	switch {
	case errors.Is(err, errUnasked):
		return nil
	case err == nil:
		p.setWeakLocked(s, false)
		return nil
	case isDegraded(err):
		p.tally.degradedProbes.Add(1)
		p.setWeakLocked(s, true)
		return nil
	case isUnknown(err):
		p.tally.unknownProbes.Add(1)
		return nil
	}
	p.tally.probeFailures.Add(1)
	if wanted || p.mayCondemnLocked() {
		return err
	}
	p.tally.sparedProbes.Add(1)
	p.setWeakLocked(s, true)
	return nil
}

// mayCondemnLocked counts a resource as condemned, unless as many have been within
// the interval as may be. REQUIRES: the lock.
func (p *Pool[T]) mayCondemnLocked() bool {
	now := p.hub.now()
	if p.condemned == 0 || now-p.condemnedSince >= int64(p.cfg.ProbeInterval) {
		p.condemned, p.condemnedSince = 0, now
		p.condemnable = max(1, int(math.Ceil(p.cfg.MaxCondemnedShare*float64(p.usableLocked()))))
	}
	if p.condemned >= p.condemnable {
		return false
	}
	p.condemned++
	return true
}

// setWeakLocked says whether s is preferred. s is busy, so that nobody can lease it
// between the count and the mark; the caller puts it back into service.
// REQUIRES: the lock.
func (p *Pool[T]) setWeakLocked(s *slot[T], weak bool) {
	switch is := s.word.Load()&flagWeak != 0; {
	case weak && !is:
		p.weak.Add(1)
		s.mark(flagWeak, 0)
	case !weak && is:
		s.mark(0, flagWeak)
		p.weak.Add(-1)
	}
}
