package mcpool

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// call is one attempt of a call: the context that it is made with, from which the
// RoundTripper and the handlers find what belongs to it, and what they noted.
type call struct {
	context.Context // the caller's, made to end with the session too
	cancel          context.CancelCauseFunc

	// Immutable after creation.
	header      http.Header
	credentials bool // header has some, so the provider's are not sent
	handlers    handlers
	token       string // of its progress; empty without a handler

	wrote atomic.Bool // request headers went to the connection
	noted atomic.Pointer[error]

	progressMu   sync.Mutex
	progressOver bool // guarded by progressMu
}

type (
	callKey struct{}
	connKey struct{}
)

// Value finds the call itself, and else what the caller's context has.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.Context.Value(key)
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

// newCall makes the context of one attempt on s.
func newCall(ctx context.Context, s *conn, o *options) *call {
	inner, cancel := context.WithCancelCause(ctx)
	c := &call{
		Context: connContext{inner, s}, cancel: cancel,
		header: o.header, credentials: s.id.pool.hasCredentials(o.header), handlers: o.handlers,
	}
	if o.handlers.progress != nil {
		c.token = "mcpool-" + strconv.FormatUint(s.id.pool.tokens.Add(1), 36)
	}
	return c
}

// connContext adds the session to a context, for connOf.
type connContext struct {
	context.Context
	conn *conn
}

func (c connContext) Value(key any) any {
	if key == (connKey{}) {
		return c.conn
	}
	return c.Context.Value(key)
}

// trace notes whether the request went to the connection.
func (c *call) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{WroteHeaders: func() { c.wrote.Store(true) }}
}

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

// end releases what the call holds. No progress is told afterwards.
func (c *call) end() {
	c.cancel(nil)
	if c.token != "" {
		c.progressMu.Lock()
		c.progressOver = true
		c.progressMu.Unlock()
	}
}
