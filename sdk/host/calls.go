package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// dialOptions are what every connection to a plugin has. conns is told of the connection
// as soon as go-plugin opens its first stream, because it loses it if that fails.
func dialOptions(l *Limits, conns *connection) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(l.MessageBytes), grpc.MaxCallSendMsgSize(l.MessageBytes)),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
		grpc.WithIdleTimeout(0), // the socket has no name any more: what is hung up stays so
		grpc.WithStaticStreamWindowSize(wire.Window), grpc.WithStaticConnWindowSize(wire.Window),
		grpc.WithChainUnaryInterceptor(func(
			ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption,
		) error {
			ctx, cancel := withDefaultDeadline(ctx, l.Call)
			defer cancel()
			return next(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(
			ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption,
		) (grpc.ClientStream, error) {
			conns.set(cc)
			stream, err := next(ctx, desc, cc, method, opts...)
			if err == nil && method == brokerMethod {
				stream = brokerStream{stream}
			}
			return stream, err
		}),
	}
}

// brokerMethod is the stream on which a plugin tells go-plugin of further sockets.
const brokerMethod = "/plugin.GRPCBroker/StartStream"

// brokerStream passes on nothing that it receives: this host dials no further sockets, and
// go-plugin would keep what it is told of them, however much that is.
type brokerStream struct{ grpc.ClientStream }

// RecvMsg returns when the stream has ended.
func (b brokerStream) RecvMsg(m any) error {
	for {
		if err := b.ClientStream.RecvMsg(m); err != nil {
			return err
		}
	}
}

// connection remembers what has to be closed, and closes what comes too late.
type connection struct {
	mu     sync.Mutex
	cc     *grpc.ClientConn // guarded by mu
	closed bool             // guarded by mu
}

func (c *connection) set(cc *grpc.ClientConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cc = cc
	if c.closed {
		_ = cc.Close() // again perhaps, which is an error and no harm
	}
}

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.cc != nil {
		_ = c.cc.Close() // the same
	}
}

// withDefaultDeadline bounds a context that has no deadline.
func withDefaultDeadline(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// withTraceparent sends the trace context along.
func withTraceparent(ctx context.Context, traceparent string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, wire.TraceparentKey, traceparent)
}

// fromRPC makes what a call returned the error that callers see.
func fromRPC(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e, ok := wire.FromStatus(err); ok {
		return e
	}
	e := &Error{Message: status.Convert(err).Message(), Ran: true}
	switch {
	case errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled:
		e.Message, e.Causes = "the call was given up", []error{context.Canceled}
	case errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded:
		e.Message, e.Causes = "the plugin did not answer in time", []error{context.DeadlineExceeded}
	case status.Code(err) == codes.Unavailable || errors.Is(err, errLost):
		e.Message, e.Causes = "the plugin went away during the call", []error{errLost}
	case status.Code(err) == codes.ResourceExhausted:
		e.Message = "a message was larger than Limits.MessageBytes: " + e.Message
	case status.Code(err) == codes.Unimplemented:
		e.Ran = false
	}
	e.Message = wire.Clean(e.Message, 4<<10)
	return e
}

// call runs f on a living process. It counts as under way until f returns. If the
// process is lost, or lost the instance, it is repeated once.
func (r *Running) call(ctx context.Context, method, instance string, f func(context.Context, *process) error) (err error) {
	if span := r.span(); span != nil {
		var traceparent string
		var end func(error)
		ctx, traceparent, end = span(ctx, r.name, method)
		ctx = context.WithValue(withTraceparent(ctx, traceparent), traceKey{}, traceparent)
		defer func() { end(err) }()
	}
	ran := false // a process may have done it before it was lost, whatever the next one says
	for again := false; ; again = true {
		p, err := r.current(ctx)
		if err != nil {
			return r.say(mayHaveRun(err, ran), method, instance)
		}
		err = f(ctx, p)
		p.end()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil && status.Code(err) == codes.Canceled && p.conn.GetState() == connectivity.Shutdown {
			err = errLost // gRPC's word for calls under which a connection is closed, as destroy does
		}
		e := fromRPC(err)
		lost := errors.Is(e, errLost)
		if lost {
			p.condemn("its connection broke")
		}
		ran = ran || lost && e.Ran
		switch {
		case again || ctx.Err() != nil:
		case lost:
			continue
		case errors.Is(e, wire.ErrNoInstance) && instance != "":
			if err := r.reopen(ctx, instance); err != nil {
				return r.say(mayHaveRun(err, ran), method, instance)
			}
			continue
		}
		return r.say(mayHaveRun(e, ran), method, instance)
	}
}

// mayHaveRun has an error say that an earlier try may have been carried out.
func mayHaveRun(err error, ran bool) error {
	if !ran {
		return err
	}
	if e, ok := errors.AsType[*Error](err); ok {
		said := *e
		said.Ran = true
		return &said
	}
	return &Error{Message: err.Error(), Ran: true, Causes: []error{err}}
}

// span is what the Plugin that runs says.
func (r *Running) span() func(context.Context, string, string) (context.Context, string, func(error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.plugin.Span
}

type traceKey struct{}

func traceparentOf(ctx context.Context) string {
	s, _ := ctx.Value(traceKey{}).(string)
	return s
}

// say adds to an error whose it is.
func (r *Running) say(err error, method, instance string) error {
	if e, ok := errors.AsType[*Error](err); ok {
		said := *e
		said.Plugin, said.Instance, said.Method = r.name, instance, method
		return &said
	}
	return fmt.Errorf("host: plugin %s: %s: %w", r.name, method, err)
}
