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
// RoundTripper and the handlers find what belongs to it, and what they noted.
type call struct {
	context.Context // made to end with the caller's, and with the session
	cancel          context.CancelCauseFunc

	// Immutable after creation.
	conn        *conn
	caller      context.Context // nil if Context is derived from it
	unlink      func() bool     // ends the watch over caller; nil without one
	header      http.Header
	credentials bool // header has some, so the provider's are not sent
	handlers    handlers
	token       string            // of its progress; empty without a handler
	carry       map[string]string // what Hooks.Carry set; nil for nothing

	over  atomic.Bool // the caller waits no longer
	trace httptrace.ClientTrace
	wrote atomic.Bool // request headers went to the connection
	noted atomic.Pointer[error]

	// parts is one for the caller, until it has its answer, and one for each
	// stream of answers that was not read to its end. The last one ends the context.
	parts    atomic.Int32
	patience *time.Timer // with streams that are left; written before parts loses the caller's one

	progressMu   sync.Mutex
	progressOver bool // guarded by progressMu
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
	return c.Context.Value(key)
}

// Deadline is the caller's.
func (c *call) Deadline() (time.Time, bool) {
	if c.caller != nil {
		return c.caller.Deadline()
	}
	return c.Context.Deadline()
}

// Err is in the words of the caller's context if that is why the call ended.
func (c *call) Err() error {
	err := c.Context.Err()
	if err != nil && c.caller != nil {
		if theirs := c.caller.Err(); theirs != nil {
			return theirs
		}
	}
	return err
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
	c := &call{
		conn: s, header: o.header, credentials: s.id.pool.hasCredentials(o.header), handlers: o.handlers,
	}
	c.parts.Store(1)
	if hook := s.id.pool.cfg.Hooks.Carry; hook != nil {
		c.carried(ctx, hook)
	}
	if s.id.pool.kind.http() {
		// Requests find it in their context. The wire tells when it has one to write to.
		c.trace.WroteHeaders = c.noteWrote
		ctx = httptrace.WithClientTrace(ctx, &c.trace)
	}
	if o.handlers.progress != nil {
		c.token = "mcpool-" + strconv.FormatUint(s.id.pool.tokens.Add(1), 36)
	}
	if s.id.pool.kind != kindHTTP || ctx.Done() == nil {
		c.Context, c.cancel = context.WithCancelCause(ctx)
		return c
	}
	// Over Streamable HTTP a call has its answer before the stream that brought it
	// has ended, and most callers cancel their context as soon as they have it. Ended
	// that early, the request would take its connection with it, and the next call
	// would have to dial. So the request hears of the caller's context only while
	// the caller waits.
	c.caller = ctx
	c.Context, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	c.unlink = context.AfterFunc(ctx, func() { c.cancel(context.Cause(ctx)) })
	return c
}

// connContext adds the session to a context, for connOf.
type connContext struct {
	context.Context
	conn *conn
}

func (c *connContext) Value(key any) any {
	if key == (connKey{}) {
		return c.conn
	}
	return c.Context.Value(key)
}

func (c *call) noteWrote() { c.wrote.Store(true) }

// fail ends the call with err, whatever the SDK makes of it.
func (c *call) fail(err error) {
	c.noted.CompareAndSwap(nil, &err)
	c.cancel(err)
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
