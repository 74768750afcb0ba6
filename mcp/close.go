package mcpool

import (
	"context"
	"errors"
	"time"

	"github.com/go-mcpool/mcpool/core"
)

// Close ends the pool: no call begins any more, and those under way are waited
// for, until ctx ends or Config.DrainTimeout has passed; then they are ended with
// an error. It returns when every session is closed, with what could not be ended
// in good order: core.CloseError for sessions, the error of Config.Auth. Close may
// be called again, and from several goroutines; all get the same result.
func (p *Pool) Close(ctx context.Context) error {
	if ctx == nil {
		return core.ErrNilContext
	}
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.mu.Unlock()
	if !first {
		select {
		case <-p.done:
			return p.result
		case <-ctx.Done():
			p.drainStop()
			<-p.done
			return p.result
		}
	}
	stop := context.AfterFunc(ctx, p.drainStop)
	defer stop()
	if p.cfg.DrainTimeout != never {
		defer time.AfterFunc(p.cfg.DrainTimeout, p.drainStop).Stop()
	}
	p.cancel()
	p.result = p.shut(ctx)
	close(p.done)
	return p.result
}

// shut closes everything, once.
func (p *Pool) shut(ctx context.Context) error {
	p.def.stopListening()
	p.identities.Range(func(_, v any) bool {
		v.(*identity).stopListening() //nolint:errcheck // nothing else is in there
		return true
	})
	err := p.backend.Load().close(p.drainCtx)
	p.background.Wait() // backends that were left, listeners, fetches of lists
	err = p.waitForCallbacks(err)
	p.drainStop()
	if p.ownAuth {
		err = errors.Join(err, p.provider.Close(context.WithoutCancel(ctx)))
	}
	if p.ownBase != nil {
		p.ownBase.CloseIdleConnections()
	}
	return err
}

// waitForCallbacks waits, some time, for what core gave up on: connecting and
// closing may take longer to notice the end than core has patience for. Where they
// do end, that is no longer part of err.
func (p *Pool) waitForCallbacks(err error) error {
	done := make(chan struct{})
	go func() {
		p.callbacks.Wait()
		close(done)
	}()
	timer := time.NewTimer(p.cfg.ConnectTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		return err
	}
	var list []error
	for _, e := range unjoin(err) {
		var late *core.CloseError
		if errors.As(e, &late) && late.Revoked == 0 {
			continue
		}
		list = append(list, e)
	}
	return errors.Join(list...)
}

func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}
