package host

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

var _ auth.Signer = (*authSigner)(nil)

// authSigner is an instance that signs.
type authSigner authProvider

// Sign has the plugin sign, on the stream that all signatures of a process share.
func (a *authSigner) Sign(ctx context.Context, req auth.Request, hr auth.HTTPRequest) (auth.Signature, error) {
	ctx, cancel := withDefaultDeadline(ctx, a.running.limits().Call)
	defer cancel()
	var sig auth.Signature
	err := a.running.call(ctx, "Sign", a.instance.name, func(ctx context.Context, p *process) error {
		if err := checkOrigin(req.Target, hr.URL); err != nil {
			return err
		}
		call := &authv1.SignCall{
			Instance: a.instance.name, Request: wire.RequestTo(req), Http: wire.HTTPRequestTo(hr),
			Traceparent: traceparentOf(ctx),
		}
		if deadline, ok := ctx.Deadline(); ok {
			call.Timeout = durationpb.New(time.Until(deadline))
		}
		// One that is too large would break the stream under everybody else.
		if n := proto.Size(call); n > a.running.limits().MessageBytes-streamRoom {
			return &Error{Message: fmt.Sprintf("a message of %d bytes is larger than Limits.MessageBytes", n)}
		}
		m, err := p.signing.sign(ctx, call)
		if err != nil {
			return err
		}
		sig = wire.SignatureFrom(m)
		if err := checkQuery(sig.RawQuery); err != nil {
			return err
		}
		return policyOf(p).checkHeader(sig.Header)
	})
	if err != nil {
		return auth.Signature{}, err
	}
	return sig, nil
}

// streamRoom is what a message of the stream has besides the call.
const streamRoom = 64

// signMux carries the signing calls of a process over one stream, which is opened by
// the first of them.
type signMux struct {
	conn   *grpc.ClientConn
	ctx    context.Context
	cancel context.CancelFunc
	out    chan outgoing
	notes  chan *authv1.SignRequest // observations; full, they are dropped
	pumps  sync.WaitGroup

	sending sync.Mutex                                                        // held while a message is sent
	stream  grpc.BidiStreamingClient[authv1.SignRequest, authv1.SignResponse] // guarded by sending; nil until it is open
	sent    uint64                                                            // guarded by sending; bytes
	taken   atomic.Uint64                                                     // of sent, what certainly left this process

	mu      sync.Mutex
	started bool                   // guarded by mu
	last    uint64                 // guarded by mu
	pending map[uint64]*signWaiter // guarded by mu
	broken  error                  // guarded by mu; why there is no stream
	ended   chan struct{}          // closed with broken
}

// outgoing is a message, with who waits for its answer; nil where nobody does.
type outgoing struct {
	req *authv1.SignRequest
	w   *signWaiter
}

// signWaiter waits for the answer to a call.
type signWaiter struct {
	answer chan *authv1.SignResponse // one place
	upTo   atomic.Uint64             // signMux.sent when its call was sent
}

func newSignMux(conn *grpc.ClientConn) *signMux {
	m := &signMux{
		conn: conn, out: make(chan outgoing), ended: make(chan struct{}),
		notes:   make(chan *authv1.SignRequest, maxNotes),
		pending: make(map[uint64]*signWaiter),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// sign makes one call. It never waits longer than ctx, whatever the plugin does.
func (m *signMux) sign(ctx context.Context, call *authv1.SignCall) (*authv1.Signature, error) {
	w := &signWaiter{answer: make(chan *authv1.SignResponse, 1)}
	m.mu.Lock()
	if m.broken != nil {
		m.mu.Unlock()
		return nil, m.broken
	}
	m.startLocked()
	m.last++
	id := m.last
	m.pending[id] = w
	m.mu.Unlock()
	defer m.drop(id)
	if req := (&authv1.SignRequest{Id: id, Message: &authv1.SignRequest_Call{Call: call}}); !m.sendNow(req, w) {
		select {
		case m.out <- outgoing{req, w}:
		case <-m.ended:
			return nil, m.why()
		case <-ctx.Done():
			return nil, &Error{Message: "the plugin did not take the request in time", Causes: []error{ctx.Err()}}
		}
	}
	select {
	case a := <-w.answer:
		if f := a.GetFailure(); f != nil {
			return nil, wire.FromFailure(f)
		}
		return a.GetSignature(), nil
	case <-m.ended:
		return nil, m.why()
	case <-ctx.Done():
		select {
		case m.out <- outgoing{req: &authv1.SignRequest{Id: id, Message: &authv1.SignRequest_Cancel{Cancel: &authv1.Cancel{}}}}:
		default: // the plugin knows the deadline too
		}
		return nil, &Error{Message: "the plugin did not answer in time", Ran: true, Causes: []error{ctx.Err()}}
	}
}

// unsent is how much may be under way for a send that surely does not wait. gRPC takes
// a message at once while less than 64 KiB of the stream wait to be written, and what
// was answered is written, with all that was sent before it.
const unsent = 32 << 10

// sendNow sends in the caller's goroutine, which saves a switch to another one, if that
// cannot make it wait. It reports whether it did; else the message goes through out.
func (m *signMux) sendNow(req *authv1.SignRequest, w *signWaiter) bool {
	if !m.sending.TryLock() {
		return false
	}
	defer m.sending.Unlock()
	if m.stream == nil || m.sent-m.taken.Load() > unsent {
		return false
	}
	m.countLocked(outgoing{req, w})
	_ = m.stream.Send(req) // receive learns why
	return true
}

// countLocked adds a message to what was sent.
//
// REQUIRES: m.sending.
func (m *signMux) countLocked(next outgoing) {
	m.sent += uint64(proto.Size(next.req)) + streamRoom //nolint:gosec // a size
	if next.w != nil {
		next.w.upTo.Store(m.sent)
	}
}

// startLocked opens the stream, once.
//
// REQUIRES: m.mu.
func (m *signMux) startLocked() {
	if !m.started {
		m.started = true
		m.pumps.Go(m.open)
	}
}

// maxNotes is how many observations may wait to be sent.
const maxNotes = 64

// observe sends an observation, unless the plugin is slow to take them.
func (m *signMux) observe(o *authv1.Observation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return
	}
	m.startLocked()
	select {
	case m.notes <- &authv1.SignRequest{Message: &authv1.SignRequest_Observation{Observation: o}}:
	default:
	}
}

func (m *signMux) drop(id uint64) {
	m.mu.Lock()
	delete(m.pending, id)
	m.mu.Unlock()
}

func (m *signMux) why() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.broken
}

// open opens the stream and sends until it ends.
func (m *signMux) open() {
	stream, err := authv1.NewAuthServiceClient(m.conn).Sign(m.ctx)
	if err != nil {
		m.fail(err)
		return
	}
	m.sending.Lock()
	m.stream = stream
	m.sending.Unlock()
	m.pumps.Go(func() { m.receive(stream) })
	for {
		var next outgoing
		select {
		case next = <-m.out:
		case next.req = <-m.notes:
		case <-m.ended:
			return
		}
		m.sending.Lock()
		m.countLocked(next)
		err := stream.Send(next.req)
		m.sending.Unlock()
		if err != nil {
			return // receive learns why
		}
	}
}

func (m *signMux) receive(stream grpc.BidiStreamingClient[authv1.SignRequest, authv1.SignResponse]) {
	for {
		a, err := stream.Recv()
		if err != nil {
			m.fail(err)
			return
		}
		m.mu.Lock()
		w := m.pending[a.GetId()]
		delete(m.pending, a.GetId())
		m.mu.Unlock()
		if w != nil {
			m.taken.Store(max(m.taken.Load(), w.upTo.Load())) // only here
			w.answer <- a
		}
	}
}

// fail ends every call: the stream is not opened again, because it breaks with the
// process or by the plugin's fault.
func (m *signMux) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken == nil {
		m.broken = &Error{Message: "the plugin went away during the call", Ran: true, Causes: []error{errLost}}
		if e := fromRPC(err); e.Causes == nil {
			m.broken = &Error{Message: "the stream of signatures broke: " + e.Message, Ran: true, Causes: []error{errLost}}
		}
		close(m.ended)
	}
}

func (m *signMux) close() {
	m.cancel()
	m.fail(context.Canceled)
	m.pumps.Wait()
}
