package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// trial is one Challenge call and those who wait for it.
type trial struct {
	generation string
	status     int
	wanted     string // what is asked for besides better credentials, else empty
	nonce      bool   // and that is a nonce
	bare       bool   // there were no credentials to refuse

	done    chan struct{} // closed when outcome and err stand
	once    sync.Once
	outcome Outcome
	err     error
}

func (t *trial) same(o *trial) bool {
	return t.generation == o.generation && t.status == o.status && t.wanted == o.wanted
}

func (t *trial) end(outcome Outcome, err error) {
	t.once.Do(func() {
		t.outcome, t.err = outcome, err
		close(t.done)
	})
}

// Challenge asks the provider, once per refused generation; see Cache. Besides the
// provider's errors it returns a *BackoffError where the answer is a remembered
// one, ErrClosed, or the error of ctx.
//
// A refusal that asks for more scope, or for a nonce, says nothing about the age of a
// credential: it always reaches the provider, once for all callers that are asked for
// the same.
func (c *Cache) Challenge(ctx context.Context, req Request, ch Challenge) (Outcome, error) {
	if err := ctx.Err(); err != nil {
		return GiveUp, fmt.Errorf("auth: challenge for %v: %w", req, err)
	}
	e, err := c.entry(&req)
	if err != nil {
		return GiveUp, err
	}
	t, outcome, err := c.try(ctx, req, ch, e)
	if t == nil {
		return outcome, err
	}
	select {
	case <-t.done:
		return t.outcome, t.err
	case <-ctx.Done():
		return GiveUp, fmt.Errorf("auth: waiting for the answer to a challenge for %v: %w", req, ctx.Err())
	}
}

// try returns the trial to wait for, or the outcome where it is known.
func (c *Cache) try(ctx context.Context, req Request, ch Challenge, e *entry) (*trial, Outcome, error) {
	t := newTrial(ch)
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	t.bare = c.bareLocked(e, ch)
	if t.wanted == "" && t.generation != "" && slices.Contains(e.superseded[:], t.generation) {
		return nil, Retry, nil
	}
	for _, running := range e.trials {
		if running.same(t) {
			return running, 0, nil
		}
	}
	if v := e.verdict; v != nil && v.same(t) && now.Before(e.verdicts.retryAt) {
		if v.err == nil {
			return nil, v.outcome, nil
		}
		return nil, v.outcome, &BackoffError{RetryAt: e.verdicts.retryAt, Failures: e.verdicts.count, Err: v.err}
	}
	if t.wanted == "" {
		if err := c.struckOutLocked(e, now); err != nil {
			return nil, GiveUp, err
		}
	}
	if !c.begin() {
		return nil, GiveUp, c.closedError()
	}
	e.trials = append(e.trials, t)
	ch.Generation = c.providersGeneration(ch.Generation)
	go c.judge(ctx, req.Clone(), ch, e, t)
	return t, 0, nil
}

func (c *Cache) judge(caller context.Context, req Request, ch Challenge, e *entry, t *trial) {
	defer c.end()
	outcome, err := GiveUp, errExited("Challenge")
	defer func() { c.conclude(e, t, outcome, err) }()
	c.bounded(caller, func(ctx context.Context) {
		err = guard("Challenge", func() (err error) {
			outcome, err = c.provider.Challenge(ctx, req, ch)
			return err
		})
	}, func(cause error) { t.end(GiveUp, cause) })
}

// conclude draws the consequences of a provider's answer: after Retry the refused
// generation is not handed out again.
func (c *Cache) conclude(e *entry, t *trial, outcome Outcome, err error) {
	if err != nil && outcome != NeedsLogin {
		outcome = GiveUp
	}
	if outcome != Retry && outcome != NeedsLogin {
		outcome = GiveUp
	}
	c.challenges.Add(1)
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trials = slices.DeleteFunc(e.trials, func(o *trial) bool { return o == t })
	if outcome == Retry {
		e.strikeLocked(t, now)
		e.verdict, e.verdicts = nil, failure{}
		if cur := e.current.Load(); cur != nil && cur.Generation == t.generation && !t.nonce {
			e.current.Store(nil)
			e.supersedeLocked(cur.Generation)
		}
	} else {
		if e.verdict == nil || !e.verdict.same(t) {
			e.verdicts = failure{}
		}
		e.verdicts.count++
		var throttled time.Duration
		if th, ok := errors.AsType[*ThrottledError](err); ok {
			throttled = th.RetryAfter
		}
		e.verdicts.retryAt = now.Add(c.cfg.backoff(e.verdicts.count, throttled))
		e.verdict = &trial{generation: t.generation, status: t.status, wanted: t.wanted, outcome: outcome, err: err}
	}
	t.end(outcome, err)
}

// struckOutLocked returns an error while a target that refuses every fresh
// credential is left alone. Two refreshes in quick succession are free; from then
// on each one waits for the backoff, until credentials last twice as long as that.
//
// REQUIRES: e.mu
func (c *Cache) struckOutLocked(e *entry, now time.Time) error {
	var window time.Duration
	if e.strikes >= 2 {
		window = c.cfg.BackoffMax
		if shift := e.strikes - 2; shift < 30 && c.cfg.BackoffMin<<shift > 0 {
			window = min(window, c.cfg.BackoffMin<<shift)
		}
	}
	since := now.Sub(e.struck)
	switch {
	case since >= 2*max(window, c.cfg.BackoffMin):
		e.strikes, e.introduced = 0, false
	case since < window:
		return &BackoffError{
			RetryAt: e.struck.Add(window), Failures: e.strikes,
			Err: fmt.Errorf("the target refuses what it was just given: %w", ErrCredentialsRejected),
		}
	}
	return nil
}

// bareLocked reports whether what was refused is the entry's credentials, and those
// hold nothing that could be refused: the provider was waiting for this answer.
//
// REQUIRES: e.mu
func (c *Cache) bareLocked(e *entry, ch Challenge) bool {
	cur := e.current.Load()
	return cur != nil && cur.Generation == ch.Generation && len(cur.Header) == 0 &&
		(c.signer == nil || ch.Sent.Header.Get("Authorization") == "")
}

// strikeLocked counts a refresh that a challenge forced. The first token after none
// is free, once in the time that strikes are remembered: a provider that goes on
// having nothing is slowed down like others.
//
// REQUIRES: e.mu
func (e *entry) strikeLocked(t *trial, now time.Time) {
	switch {
	case t.wanted != "":
		return
	case t.bare && !e.introduced:
		e.introduced = true
	default:
		e.strikes++
	}
	e.struck = now
}

func newTrial(ch Challenge) *trial {
	t := &trial{generation: ch.Generation, status: ch.Status, done: make(chan struct{})}
	switch ch.Reason() {
	case ScopeWanted:
		t.wanted = strings.Join(ch.Header.Values("WWW-Authenticate"), ", ")
	case NonceWanted:
		// Two that were sent with different nonces may have different fates.
		t.wanted, t.nonce = "nonce "+ch.Header.Get("DPoP-Nonce")+" after "+ch.Sent.Header.Get("DPoP"), true
	case Refused: // nothing but better credentials
	}
	return t
}
