package host

import (
	"context"
	"fmt"
	"sync"
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
	out    chan *authv1.SignRequest
	notes  chan *authv1.SignRequest // observations; full, they are dropped
	pumps  sync.WaitGroup

	mu      sync.Mutex
	started bool                                 // guarded by mu
	last    uint64                               // guarded by mu
	pending map[uint64]chan *authv1.SignResponse // guarded by mu; one place each
	broken  error                                // guarded by mu; why there is no stream
	ended   chan struct{}                        // closed with broken
}

func newSignMux(conn *grpc.ClientConn) *signMux {
	m := &signMux{
		conn: conn, out: make(chan *authv1.SignRequest), ended: make(chan struct{}),
		notes:   make(chan *authv1.SignRequest, maxNotes),
		pending: make(map[uint64]chan *authv1.SignResponse),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// sign makes one call. It never waits longer than ctx, whatever the plugin does.
func (m *signMux) sign(ctx context.Context, call *authv1.SignCall) (*authv1.Signature, error) {
	answer := make(chan *authv1.SignResponse, 1)
	m.mu.Lock()
	if m.broken != nil {
		m.mu.Unlock()
		return nil, m.broken
	}
	m.startLocked()
	m.last++
	id := m.last
	m.pending[id] = answer
	m.mu.Unlock()
	defer m.drop(id)
	select {
	case m.out <- &authv1.SignRequest{Id: id, Message: &authv1.SignRequest_Call{Call: call}}:
	case <-m.ended:
		return nil, m.why()
	case <-ctx.Done():
		return nil, &Error{Message: "the plugin did not take the request in time", Causes: []error{ctx.Err()}}
	}
	select {
	case a := <-answer:
		if f := a.GetFailure(); f != nil {
			return nil, wire.FromFailure(f)
		}
		return a.GetSignature(), nil
	case <-m.ended:
		return nil, m.why()
	case <-ctx.Done():
		select {
		case m.out <- &authv1.SignRequest{Id: id, Message: &authv1.SignRequest_Cancel{Cancel: &authv1.Cancel{}}}:
		default: // the plugin knows the deadline too
		}
		return nil, &Error{Message: "the plugin did not answer in time", Ran: true, Causes: []error{ctx.Err()}}
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
	m.pumps.Go(func() { m.receive(stream) })
	for {
		var req *authv1.SignRequest
		select {
		case req = <-m.out:
		case req = <-m.notes:
		case <-m.ended:
			return
		}
		if stream.Send(req) != nil {
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
		answer := m.pending[a.GetId()]
		delete(m.pending, a.GetId())
		m.mu.Unlock()
		if answer != nil {
			answer <- a
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
