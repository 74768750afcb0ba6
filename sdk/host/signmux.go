package host

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

const (
	// streamRoom is what a message of the stream has besides the call: its number, and what
	// gRPC and HTTP/2 put before it.
	streamRoom = 64
	// unsent is how much may be under way for a send that surely does not wait. gRPC takes
	// a message at once while less than 64 KiB of the stream wait to be written, and what
	// was answered is written, with all that was sent before it.
	unsent = 32 << 10
	// maxNotes is how many observations may wait to be sent.
	maxNotes = 64
	// maxFavours is how many messages a caller sends in a row, its own and others'.
	maxFavours = 16
)

type signStream = grpc.BidiStreamingClient[authv1.SignRequest, authv1.SignResponse]

// signMux carries the signing calls of a process over one stream, which is opened by
// the first of them. Messages stand in a queue. A caller sends from it in its own
// goroutine, which saves a switch to another one, as long as that surely does not make
// it wait; what is left is sent by the pump.
type signMux struct {
	conn    *grpc.ClientConn
	largest int // bytes of a message, without streamRoom; a larger one would break the stream under everybody
	ctx     context.Context
	cancel  context.CancelFunc
	wake    chan struct{} // one place; wakes the pump
	ended   chan struct{} // closed with broken
	expiry  *time.Timer
	workers sync.WaitGroup

	mu      sync.Mutex
	started bool                   // guarded by mu
	stream  signStream             // guarded by mu; nil until it is open
	queue   []outgoing             // guarded by mu; what is to be sent
	notes   int                    // guarded by mu; observations in queue
	busy    bool                   // guarded by mu; somebody sends
	sent    uint64                 // guarded by mu; bytes
	taken   uint64                 // guarded by mu; of sent, what certainly left this process
	last    uint64                 // guarded by mu; the number of the last call
	pending map[uint64]*signWaiter // guarded by mu
	next    time.Time              // guarded by mu; when expiry goes off, zero if it does not
	broken  error                  // guarded by mu; why there is no stream
}

// outgoing is a message, with who waits for its answer; nil where nobody does.
type outgoing struct {
	message wire.Encoded
	w       *signWaiter
	note    bool // an observation
}

// signWaiter waits for the answer to a call.
type signWaiter struct {
	answer chan *wire.SignResponse // one place; nil says that it is too late
	due    time.Time               // zero where the context tells
	upTo   uint64                  // guarded by signMux.mu; its sent when the call was, 0 before
}

func newSignMux(conn *grpc.ClientConn, limit int) *signMux {
	m := &signMux{
		conn: conn, largest: limit - streamRoom, wake: make(chan struct{}, 1), ended: make(chan struct{}), pending: make(map[uint64]*signWaiter),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.expiry = time.AfterFunc(time.Hour, m.expire)
	m.expiry.Stop()
	return m
}

// sign makes one call. It never waits longer than ctx, or than until due where that is
// set, whatever the plugin does.
func (m *signMux) sign(ctx context.Context, due time.Time, call wire.Encoded) (auth.Signature, error) {
	if len(call) > m.largest {
		return auth.Signature{}, &Error{Message: fmt.Sprintf("a message of %d bytes is larger than Limits.MessageBytes", len(call))}
	}
	w := &signWaiter{answer: make(chan *wire.SignResponse, 1), due: due}
	m.mu.Lock()
	if m.broken != nil {
		m.mu.Unlock()
		return auth.Signature{}, m.broken
	}
	m.last++
	id := m.last
	m.pending[id] = w
	m.expectLocked(due)
	m.queue = append(m.queue, outgoing{message: call.WithID(id), w: w})
	m.startLocked()
	m.flushLocked(false)
	m.mu.Unlock()
	select {
	case a := <-w.answer:
		if a == nil {
			return auth.Signature{}, m.giveUp(id, w, context.DeadlineExceeded)
		}
		if a.Failure != nil {
			return auth.Signature{}, wire.FromFailure(a.Failure)
		}
		return a.Signature, nil
	case <-m.ended:
		return auth.Signature{}, m.why()
	case <-ctx.Done():
		return auth.Signature{}, m.giveUp(id, w, ctx.Err())
	}
}

// expectLocked sets the timer that all calls share. The usual one is due after those
// before it, and finds the timer set.
//
// REQUIRES: m.mu.
func (m *signMux) expectLocked(due time.Time) {
	if !due.IsZero() && (m.next.IsZero() || due.Before(m.next)) {
		m.next = due
		m.expiry.Reset(time.Until(due))
	}
}

// expire ends the calls that are due.
func (m *signMux) expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	var next time.Time
	for id, w := range m.pending {
		switch {
		case w.due.IsZero():
		case time.Until(w.due) <= 0:
			delete(m.pending, id)
			w.answer <- nil
		case next.IsZero() || w.due.Before(next):
			next = w.due
		}
	}
	m.next = time.Time{}
	m.expectLocked(next)
}

// giveUp forgets a call. The plugin is told if it may have it.
func (m *signMux) giveUp(id uint64, w *signWaiter, cause error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.pending, id)
	if w.upTo == 0 {
		m.queue = slices.DeleteFunc(m.queue, func(o outgoing) bool { return o.w == w })
		return &Error{Message: "the plugin did not take the request in time", Causes: []error{cause}}
	}
	if m.broken == nil {
		m.queue = append(m.queue, outgoing{message: wire.SignCancelTo(id)})
		m.wakePump()
	}
	return &Error{Message: "the plugin did not answer in time", Ran: true, Causes: []error{cause}}
}

// observe sends an observation, unless it cannot be sent or the plugin is slow to take them.
func (m *signMux) observe(o *authv1.Observation) {
	message, err := proto.Marshal(&authv1.SignRequest{Message: &authv1.SignRequest_Observation{Observation: o}})
	if err != nil || len(message) > m.largest {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil || m.notes == maxNotes {
		return
	}
	m.notes++
	m.queue = append(m.queue, outgoing{message: message, note: true})
	m.startLocked()
	m.wakePump()
}

// startLocked opens the stream, once.
//
// REQUIRES: m.mu.
func (m *signMux) startLocked() {
	if !m.started {
		m.started = true
		m.workers.Go(m.pump)
	}
}

func (m *signMux) wakePump() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// pump opens the stream, and sends what callers leave to it.
func (m *signMux) pump() {
	stream, err := authv1.NewAuthServiceClient(m.conn).Sign(m.ctx, grpc.ForceCodecV2(wire.Codec()))
	if err != nil {
		m.fail(err)
		return
	}
	m.workers.Go(func() { m.receive(stream) })
	m.mu.Lock()
	m.stream = stream
	for {
		m.flushLocked(true)
		m.mu.Unlock()
		select {
		case <-m.wake:
		case <-m.ended:
			return
		}
		m.mu.Lock()
	}
}

// flushLocked sends what is queued, unless somebody else is at it. A patient one waits
// where the stream makes it.
//
// REQUIRES: m.mu, which is let go while a message is sent.
func (m *signMux) flushLocked(patient bool) {
	if m.busy || m.stream == nil {
		return
	}
	m.busy = true
	defer func() { m.busy = false }()
	for n := 0; len(m.queue) > 0; n++ {
		if !patient && (n == maxFavours || m.sent-m.taken > unsent) {
			m.wakePump()
			return
		}
		next := m.queue[0]
		m.queue = slices.Delete(m.queue, 0, 1)
		m.sent += uint64(len(next.message) + streamRoom)
		if next.w != nil {
			next.w.upTo = m.sent
		}
		if next.note {
			m.notes--
		}
		stream := m.stream
		m.mu.Unlock()
		_ = stream.SendMsg(&next.message) // receive learns why not
		m.mu.Lock()
	}
}

// receive gives answers to who waits for them.
func (m *signMux) receive(stream signStream) {
	for {
		var message wire.Received
		err := stream.RecvMsg(&message)
		var a wire.SignResponse
		if err == nil {
			a, err = wire.SignResponseFrom(message)
		}
		if err != nil {
			m.fail(err)
			return
		}
		m.mu.Lock()
		w := m.pending[a.ID]
		if w != nil {
			delete(m.pending, a.ID)
			m.taken = max(m.taken, w.upTo)
		}
		m.mu.Unlock()
		if w != nil {
			w.answer <- &a
		}
	}
}

func (m *signMux) why() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.broken
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
		m.queue, m.pending = nil, nil
		m.expiry.Stop()
		close(m.ended)
	}
}

func (m *signMux) close() {
	m.cancel()
	m.fail(context.Canceled)
	m.workers.Wait()
}
