package core

import "context"

// JoinHooks returns hooks that call all the given ones, for a pool that is both
// logged and traced, say. Start hooks are called in the order given, each with the
// context that the one before made; End hooks in the reverse order, all with the
// context of the last Start; the rest in the order given. A hook that nobody sets
// stays nil, and costs nothing.
//
// If one panics the others are called all the same; the contexts that the Start
// hooks made are lost then.
func JoinHooks(hooks ...Hooks) Hooks {
	var all Hooks
	for _, h := range hooks {
		all = Hooks{
			AcquireStart:  joinStart(all.AcquireStart, h.AcquireStart),
			AcquireEnd:    joinEnd(all.AcquireEnd, h.AcquireEnd),
			Released:      joinEvent(all.Released, h.Released),
			OpenStart:     joinStart(all.OpenStart, h.OpenStart),
			OpenEnd:       joinEnd(all.OpenEnd, h.OpenEnd),
			CloseStart:    joinStart(all.CloseStart, h.CloseStart),
			CloseEnd:      joinEnd(all.CloseEnd, h.CloseEnd),
			ProbeStart:    joinStart(all.ProbeStart, h.ProbeStart),
			ProbeEnd:      joinEnd(all.ProbeEnd, h.ProbeEnd),
			CircuitOpened: joinEvent(all.CircuitOpened, h.CircuitOpened),
			CircuitClosed: joinEvent(all.CircuitClosed, h.CircuitClosed),
			Resized:       joinEvent(all.Resized, h.Resized),
			Degraded:      joinEvent(all.Degraded, h.Degraded),
			Recovered:     joinEvent(all.Recovered, h.Recovered),
			Leaked:        joinEvent(all.Leaked, h.Leaked),
			Panicked:      joinEvent(all.Panicked, h.Panicked),
		}
	}
	return all
}

func joinStart[E any](a, b func(context.Context, E) context.Context) func(context.Context, E) context.Context {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return func(ctx context.Context, e E) (made context.Context) {
		made = ctx
		defer func() { // even if a panics
			if next := b(made, e); next != nil {
				made = next
			}
		}()
		if next := a(ctx, e); next != nil {
			made = next
		}
		return made
	}
}

func joinEnd[E any](a, b func(context.Context, E)) func(context.Context, E) {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return func(ctx context.Context, e E) {
		defer a(ctx, e) // even if b panics
		b(ctx, e)
	}
}

func joinEvent[E any](a, b func(E)) func(E) {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return func(e E) {
		defer b(e) // even if a panics
		a(e)
	}
}
