package host

import (
	"errors"
	"fmt"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// Why a connection has ended says nothing of a message that is under way: who took it for
// proof would send that again.
func TestTheEndOfAConnectionProvesOfNoMessageThatItWasNotSent(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"said":             fmt.Errorf("x: %w", transport.ErrNotSent),
		"at the end":       &transport.CloseError{Reason: transport.PeerGone, NotSent: true},
		"by what ended it": &transport.CloseError{Reason: transport.PeerGone, Err: transport.ErrNotSent},
		"too large":        &transport.SizeError{Sending: true, Max: 7},
	} {
		c := newConn(&Dialer{running: &Running{name: "p"}, instance: &instance{name: "i"}}, nil, nil, nil, 8, 8)
		c.finish(c.ending(wire.FaultTo(err)))
		if got := c.why(false); errors.Is(got, transport.ErrNotSent) || !errors.Is(got, transport.ErrClosed) ||
			errors.Is(got, transport.ErrTooLarge) != errors.Is(err, transport.ErrTooLarge) {
			t.Errorf("%s: %v", name, got)
		}
		if got := c.why(true); !errors.Is(got, transport.ErrNotSent) {
			t.Errorf("%s: a message after the end: %v", name, got)
		}
	}
}
