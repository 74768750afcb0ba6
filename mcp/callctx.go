package mcpool

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// call is one attempt of a call: the context that it is made with, from which the
// RoundTripper and the handlers find what belongs to it, and what they noted. Each
// call makes one, so it has only what each needs.
type call struct {
	*live // nil for a call that nothing but its session's end can end early

	// Immutable after creation.
	caller   context.Context
	conn     *conn
	handlers *handlers         // the call's own; nobody changes them
	carry    map[string]string // what Hooks.Carry set; nil for nothing

	wrote atomic.Bool // it went to the connection, or began to
}

// live is what a call has that can end before its session, and may leave something
// behind that goes on.
type live struct {
	// Immutable after creation.
	ctx         context.Context // ends with the caller's, and with the session
	cancel      context.CancelCauseFunc
	unlink      func() bool // ends the watch over caller; nil without one
	header      http.Header
	credentials bool   // header has some, so the provider's are not sent
	token       string // of its progress; empty without a handler

	prev, next *call // guarded by conn.mu: among those of its session

	over  atomic.Bool // the caller waits no longer
	noted atomic.Pointer[error]

	// parts is one for the caller, until it has its answer, and one for each
	// stream of answers that was not read to its end. The last one ends the context.
	parts    atomic.Int32
	patience *time.Timer // with streams that are left; written before parts loses the caller's one

	progressMu   sync.Mutex
	progressOver bool // guarded by progressMu
}

// liveCall is both in one piece.
type liveCall struct {
	call
	live live
}

// httpCall is one over HTTP, where the wire tells when it has one to write to.
type httpCall struct {
	liveCall

	trace httptrace.ClientTrace
}

type (
	callKey struct{}
	connKey struct{}
)

// Value finds the call itself, its session, and else what the caller's context has.
func (c *call) Value(key any) any {
	switch key {
	case callKey{}:
		return c
	case connKey{}:
		return c.conn
	}
	if c.live != nil {
		return c.ctx.Value(key)
	}
	if v := c.caller.Value(key); v != nil {
		return v
	}
	return c.conn.ctx.Value(key) // it knows what package context wants to find
}

// Deadline is the caller's.
func (c *call) Deadline() (time.Time, bool) { return c.caller.Deadline() }

// Done is closed when the call ends, or its session.
func (c *call) Done() <-chan struct{} {
	if c.live != nil {
		return c.ctx.Done()
	}
	return c.conn.ctx.Done()
}

// Err is in the words of the caller's context if that is why the call ended.
func (c *call) Err() error {
	if c.live == nil {
		return c.conn.ctx.Err() //nolint:wrapcheck // a context's
	}
	err := c.ctx.Err()
	if err != nil {
		if theirs := c.caller.Err(); theirs != nil {
			return theirs //nolint:wrapcheck // a context's
		}
	}
	return err //nolint:wrapcheck // a context's
}

// callOf returns the call that a context belongs to, or nil.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// connOf returns the session that a context belongs to, or nil. A call's session
// is the one it was made on; the context of Connect names its own.
func connOf(ctx context.Context) *conn {
	s, _ := ctx.Value(connKey{}).(*conn)
	return s
}

// newCall makes the context of one attempt on s. The caller has to end it.
func newCall(ctx context.Context, s *conn, o *options) *call {
	p := s.id.pool
	if s.ctx != nil && ctx.Done() == nil && o.handlers.progress == nil && o.handlers.abilities() == 0 {
		// Only the session's end can end it early, so it does without a context of
		// its own, and nobody looks for it among the session's calls.
		c := &call{caller: ctx, conn: s, handlers: &o.handlers}
		if hook := p.cfg.Hooks.Carry; hook != nil {
			c.carried(ctx, hook)
		}
		return c
	}
	var c *call
	if p.kind.http() {
		h := new(httpCall)
		c, h.call.live = &h.call, &h.live
		// Requests find it in their context.
		h.trace.WroteHeaders = c.noteWrote
		ctx = httptrace.WithClientTrace(ctx, &h.trace)
	} else {
		l := new(liveCall)
		c, l.call.live = &l.call, &l.live
	}
	c.caller, c.conn, c.handlers = ctx, s, &o.handlers
	c.header, c.credentials = o.header, p.hasCredentials(o.header)
	if hook := p.cfg.Hooks.Carry; hook != nil {
		c.carried(ctx, hook)
	}
	if o.handlers.progress != nil {
		c.token = "mcpool-" + strconv.FormatUint(p.tokens.Add(1), 36)
	}
	if p.kind != kindHTTP || ctx.Done() == nil {
		c.ctx, c.cancel = context.WithCancelCause(ctx)
	} else {
		// Over Streamable HTTP a call has its answer before the stream that brought it
		// has ended, and most callers cancel their context as soon as they have it. Ended
		// that early, the request would take its connection with it, and the next call
		// would have to dial. So the request hears of the caller's context only while
		// the caller waits.
		c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		c.unlink = context.AfterFunc(ctx, func() { c.cancel(context.Cause(ctx)) })
	}
	c.parts.Store(1)
	return c
}

// connContext is the context that a session is opened with, and names the session,
// for connOf. The SDK keeps it as long as the session lives, for its values; what it
// was made of is let go when the opening is over, and with that its context.
type connContext struct {
	conn    *conn
	opening atomic.Pointer[context.Context]
}

func newConnContext(ctx context.Context, s *conn) *connContext {
	c := &connContext{conn: s}
	c.opening.Store(&ctx)
	return c
}

func (c *connContext) Deadline() (time.Time, bool) { return (*c.opening.Load()).Deadline() }
func (c *connContext) Done() <-chan struct{}       { return (*c.opening.Load()).Done() }
func (c *connContext) Err() error                  { return (*c.opening.Load()).Err() } //nolint:wrapcheck // a context's

func (c *connContext) Value(key any) any {
	if key == (connKey{}) {
		return c.conn
	}
	return (*c.opening.Load()).Value(key)
}

// end puts a context in place that has ended.
func (c *connContext) end() { c.opening.Store(&c.conn.id.pool.over) }

func (c *call) noteWrote() { c.wrote.Store(true) }

// fail ends the call with err, whatever the SDK makes of it.
func (c *call) fail(err error) {
	c.noted.CompareAndSwap(nil, &err)
	c.cancel(err)
}

// failure returns what ended the call beside what the SDK makes of it, or nil.
func (c *call) failure() error {
	switch {
	case c.live == nil && c.conn.ctx.Err() != nil:
		return &SessionError{Pool: c.conn.id.pool.cfg.Name, Gone: true, MayRun: true, Err: errSessionClosed}
	case c.live == nil:
		return nil
	}
	if noted := c.noted.Load(); noted != nil {
		return *noted
	}
	return nil
}

// progress hands a notification on, unless the call is over.
func (c *call) progress(p *mcp.ProgressNotificationParams) {
	c.progressMu.Lock()
	defer c.progressMu.Unlock()
	if !c.progressOver {
		c.handlers.progress(c, p)
	}
}

// end says that the caller waits no longer: no progress is told afterwards. What
// the call holds is released, at the latest when the streams had their time to end.
func (c *call) end() {
	if c.live == nil {
		return
	}
	c.over.Store(true)
	if c.token != "" {
		c.progressMu.Lock()
		c.progressOver = true
		c.progressMu.Unlock()
	}
	if c.unlink != nil {
		c.unlink()
	}
	if c.parts.Load() > 1 {
		c.patience = time.AfterFunc(streamEnd, func() { c.cancel(nil) })
	}
	c.done()
}

// streamEnd is how long a stream may take to end after it brought the answer.
const streamEnd = time.Second

// done takes away one part.
func (c *call) done() {
	if c.parts.Add(-1) != 0 {
		return
	}
	c.cancel(nil)
	if c.patience != nil {
		c.patience.Stop()
	}
	c.conn.forget(c)
}

// keep has the call outlast the caller's wait until body was read to its end.
func (c *call) keep(body io.ReadCloser) io.ReadCloser {
	c.parts.Add(1)
	return &keptBody{ReadCloser: body, call: c}
}

// keptBody tells its call, once, when it has been read or closed.
type keptBody struct {
	io.ReadCloser
	call *call
	over atomic.Bool
}

func (b *keptBody) Read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	if err != nil {
		b.tell()
	}
	return n, err //nolint:wrapcheck // a reader returns io.EOF as it is
}

func (b *keptBody) Close() error {
	err := b.ReadCloser.Close()
	b.tell()
	return err //nolint:wrapcheck // it is the body's own
}

func (b *keptBody) tell() {
	if !b.over.Swap(true) {
		b.call.done()
	}
}
