package mcpool

import (
	"context"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/core"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

// Option changes one call, or all calls on a Session that Acquire returns.
type Option func(*options)

type (
	// ProgressFunc is told of progress. It runs on a goroutine of the session, one
	// at a time for each call, never after the call has returned, and should not
	// block: other answers on the session may wait for it.
	ProgressFunc func(ctx context.Context, p *mcp.ProgressNotificationParams)
	// ElicitFunc answers an elicitation. It runs on a goroutine of the session.
	ElicitFunc func(ctx context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error)
	// SampleFunc answers a sampling request. It runs on a goroutine of the session.
	//
	//lint:ignore SA1019 deprecated, and still spoken
	SampleFunc func(ctx context.Context, req *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) //nolint:staticcheck // deprecated, and still spoken
)

// options are what Option functions fill in.
type options struct {
	header    http.Header // of the call alone
	identity  *auth.Identity
	key       string
	affinity  core.Affinity
	exclusive bool
	timeout   time.Duration
	replay    Replay
	handlers  handlers
	bad       []error
}

// handlers are what a server can reach during a call.
type handlers struct {
	progress ProgressFunc
	elicit   ElicitFunc
	sample   SampleFunc
	update   UpdateFunc
}

// WithHeader adds an HTTP header to every request that is made for this call, and
// to no other. Headers that frame the message or belong to the protocol (Host,
// Content-*, Mcp-*, …) are refused. A credential header forms an identity; see
// the package comment.
func WithHeader(name, value string) Option {
	return func(o *options) {
		h := http.Header{textproto.CanonicalMIMEHeaderKey(name): {value}}
		if err := auth.CheckHeader(h); err != nil {
			o.bad = append(o.bad, &OptionError{Option: "WithHeader", Problem: "is refused: " + err.Error()})
			return
		}
		if o.header == nil {
			o.header = make(http.Header)
		}
		o.header.Add(name, value)
	}
}

// WithHeaders is WithHeader for several.
func WithHeaders(h http.Header) Option {
	h = h.Clone()
	return func(o *options) {
		for _, name := range slices.Sorted(maps.Keys(h)) {
			for _, v := range h[name] {
				WithHeader(name, v)(o)
			}
		}
	}
}

// WithIdentity names who the call speaks as. Identities with the same ID and
// Attrs are the same; Subject is that of the first call that named it.
func WithIdentity(id auth.Identity) Option {
	return func(o *options) { o.identity = &id }
}

// WithAffinity prefers the session last used under the same key by the same
// identity, and takes another if that is busy or gone.
func WithAffinity(key string) Option {
	return func(o *options) { o.key, o.affinity = key, core.Prefer }
}

// WithPin insists on the session last used under the same key by the same
// identity: it waits if that is busy, and fails with *core.PinLostError if it is
// gone. A key not seen before takes any session.
func WithPin(key string) Option {
	return func(o *options) { o.key, o.affinity = key, core.Pin }
}

// WithExclusive has the session to itself for the length of the call.
func WithExclusive() Option {
	return func(o *options) { o.exclusive = true }
}

// WithTimeout bounds the call, repetitions included, beside its context.
func WithTimeout(d time.Duration) Option {
	return func(o *options) {
		if d <= 0 {
			o.bad = append(o.bad, &OptionError{Option: "WithTimeout", Problem: "needs a time above zero"})
			return
		}
		o.timeout = d
	}
}

// WithReplay says whether the call may be sent again. Default: Config.Replay.
func WithReplay(r Replay) Option {
	return func(o *options) {
		if r > ReplayNever {
			o.bad = append(o.bad, &OptionError{Option: "WithReplay", Problem: "is not a Replay"})
			return
		}
		o.replay = r
	}
}

// WithProgress is told of the call's progress.
func WithProgress(f ProgressFunc) Option {
	return func(o *options) { o.handlers.progress = f }
}

// WithElicitation answers what the server asks the user during the call. Sessions
// for such calls are kept apart, because they tell the server that it may ask;
// up to 2025-11-25 the call has its session to itself, so that the question
// reaches the caller it is for.
func WithElicitation(f ElicitFunc) Option {
	return func(o *options) { o.handlers.elicit = f }
}

// WithSampling answers the server's sampling requests during the call. What
// WithElicitation says of sessions is true here too.
func WithSampling(f SampleFunc) Option {
	return func(o *options) { o.handlers.sample = f }
}

// WithResourceUpdates is for Acquire and Do: f is told when a resource changes that
// Session.Subscribe was called for. Sessions for it are kept apart, because over
// HTTP up to 2025-11-25 they need a stream that others do without. f runs on a
// goroutine of the session, never after the lease has ended, and should not block.
func WithResourceUpdates(f UpdateFunc) Option {
	return func(o *options) { o.handlers.update = f }
}

// collect applies opts over the defaults. Without opts it returns the defaults
// themselves, which nobody may change: most calls need no copy of their own.
func (p *Pool) collect(opts []Option) (*options, error) {
	if len(opts) == 0 {
		return &p.plain, nil
	}
	o := p.plain
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if len(o.bad) > 0 {
		return nil, o.bad[0]
	}
	return &o, nil
}

// ability is what a client tells the server that it can be asked. Sessions that
// tell different things are kept apart.
type ability uint8

const (
	canElicit ability = 1 << iota
	canSample
	canHear // it does not tell that: it asks for the stream that updates come on
)

// abilityBits is how many abilities there are.
const abilityBits = 3

// allAbilities goes through every set of abilities.
func allAbilities() []ability {
	list := make([]ability, 0, 1<<abilityBits)
	for a := range ability(1 << abilityBits) {
		list = append(list, a)
	}
	return list
}

func (h handlers) abilities() (a ability) {
	if h.elicit != nil {
		a |= canElicit
	}
	if h.sample != nil {
		a |= canSample
	}
	if h.update != nil {
		a |= canHear
	}
	return a
}
