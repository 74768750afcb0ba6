package mcpool

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/core"
	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// Off turns a feature off where its zero value would mean a default.
const Off = core.Off

// Config says what a Pool connects to and how it behaves. Exactly one of
// Endpoint, Command.Path, Transport and Dialer is required; an Endpoint may come with
// a Dialer, as what it is to dial. The zero value of every other
// field means the default its comment gives, Off (-1) means none, and any other
// negative value is an error. Open copies the Config and returns every fault of it
// at once.
type Config struct {
	// Name appears in errors, logs and events. Default: the host of the endpoint,
	// the name of the command, or "mcp".
	Name string

	// Endpoint is the URL of a Streamable HTTP server, or of a legacy SSE server
	// if SSE is set.
	Endpoint string
	// SSE speaks the HTTP+SSE transport of protocol version 2024-11-05. On it the
	// failure of one request can end the session under its neighbours, because the
	// answers to all of them come on one stream.
	SSE bool
	// HTTP tunes the connections to Endpoint.
	HTTP HTTP
	// Command is a server to run as a child process and to speak with over stdio.
	Command Command
	// Transport makes the transport of one session, for everything else. It is
	// called on a goroutine of the pool, at most MaxOpening times at once, and may
	// block until its context ends.
	Transport func(ctx context.Context, d Dial) (mcp.Transport, error)

	// Dialer opens connections that carry whole messages: package transport has the
	// contract, and it is what transport plugins implement. It is called on
	// goroutines of the pool, at most MaxOpening times at once, and stays the
	// caller's. Credential headers of the identity are in Open.Header, and those
	// of Auth if Endpoint is set; headers of single calls have no way there.
	Dialer transport.Dialer
	// MaxMessageBytes bounds one message over Dialer, in either direction.
	// Default: 16 MiB.
	MaxMessageBytes int64

	// Auth is where credentials for Endpoint come from. The pool puts an auth.Cache
	// in front of it and closes it in the end, unless it is an *auth.Cache, which
	// stays the caller's. Default: none.
	Auth auth.Provider
	// Identity is who calls without an identity of their own speak as. Default:
	// the application itself.
	Identity auth.Identity
	// CredentialHeaders are the headers that, on a call without an explicit
	// identity, form one. Default: Authorization, Proxy-Authorization, Cookie,
	// X-Api-Key, X-Access-Token.
	CredentialHeaders []string
	// SharedEndpoint says that credential headers of calls are for the call alone
	// and form no identity: all of them share sessions.
	SharedEndpoint bool
	// Headers returns headers for one call, from its context: a trace, a tenant. It
	// runs on the goroutine of the caller before the call is sent, and what it
	// returns forms no identity. Default: none.
	Headers func(ctx context.Context) http.Header

	// Min is how many sessions are kept open for Identity; other identities open
	// theirs when they need them. Default: 2.
	Min int
	// Max is how many sessions one identity may have. Default: 10.
	Max int
	// MaxSessions is how many sessions all identities together may have; Max of
	// them are set aside for Identity. Default: 100, or 2 * Max if that is more.
	MaxSessions int
	// MaxIdentities is how many other identities are served at once; past it the
	// one that was idle longest gives way. Default: 1000.
	MaxIdentities int
	// IdentityIdleTime is how long another identity may stay unused before its
	// sessions, lists and listener are closed. Default: 5 min.
	IdentityIdleTime time.Duration
	// CallsPerSession is how many calls share a session at once. Default: 1 for a
	// command, 100 over HTTP from 2026-07-28 on, else 8.
	CallsPerSession int
	// MaxOpening is how many sessions are opened at once. Default: 4.
	MaxOpening int

	// ConnectTimeout bounds the opening of one session. Default: 10 s.
	ConnectTimeout time.Duration
	// AcquireTimeout bounds the wait for a session beside the caller's context.
	// Default: ConnectTimeout.
	AcquireTimeout time.Duration
	// CallTimeout bounds a call beside the caller's context. Default: none.
	CallTimeout time.Duration
	// DrainTimeout is how long Close waits for calls and leases. Default: 30 s.
	DrainTimeout time.Duration
	// RestartGrace is how long after the last sign of life calls wait for an
	// endpoint that has gone to come back, within their own deadlines. Default: 30 s.
	// Off: they fail with the first attempt to connect.
	RestartGrace time.Duration

	// ConnectRetries is how many more attempts follow a failed one. Default: 2.
	ConnectRetries int
	// RetryMin and RetryMax bound the jittered, doubling pause between attempts.
	// Defaults: 100 ms and 2 s.
	RetryMin, RetryMax time.Duration
	// CircuitFailures is how many failures in a row open the circuit. Default: 5.
	CircuitFailures int
	// CircuitMin and CircuitMax bound the jittered, doubling pause before the next
	// trial while the circuit is open. Defaults: 1 s and 30 s.
	CircuitMin, CircuitMax time.Duration

	// MaxLifetime is the age at which a session is replaced. Default: 1 h.
	MaxLifetime time.Duration
	// RecycleWindow is how long before that its replacement is opened. Default: 30 s.
	RecycleWindow time.Duration
	// MaxIdleTime is how long a session beyond Min may stay idle. Default: 10 min.
	MaxIdleTime time.Duration
	// ProbeInterval is how often an idle session is probed. Default: 30 s.
	ProbeInterval time.Duration
	// LeakAfter has a session reported that was held this long. Default: off.
	LeakAfter time.Duration

	// ProtocolVersion pins the protocol version. Default: negotiated, and remembered;
	// over SSE one up to 2025-11-25.
	ProtocolVersion string
	// ClientInfo is what servers are told about the client. Default: the name mcpool.
	ClientInfo *mcp.Implementation
	// Replay says which calls are repeated. Default: ReplaySafe.
	Replay Replay
	// ToolsTTL is how long lists of tools, prompts, resources and templates are
	// used without asking again. Default: 5 min. Off: every time is asked.
	ToolsTTL time.Duration
	// StaleLists returns a list past its TTL at once and fetches a new one in the
	// background. A list that was invalidated is never returned.
	StaleLists bool
	// NoListener does without the one extra session for each identity that hears
	// when lists change. It is opened with the first list, or at once if
	// OnSchemaChanged is set.
	NoListener bool
	// CheckArguments checks the arguments of a call against the tool's input schema
	// before it is sent; what does not match fails with *ArgumentError. It takes the
	// list of tools, which is fetched if need be. Tools that are not in the list, or
	// whose schema cannot be used, are not checked; the latter is logged once.
	CheckArguments bool
	// OnSchemaChanged is told when the tools of an identity have changed. For each
	// identity it runs one at a time, in the order of the changes; those that come
	// meanwhile are told as one. A server that says ever again that its tools have
	// changed is asked for them about once a second. It runs on a goroutine of the
	// pool, without locks; it may call the pool, and a panic in it is logged.
	OnSchemaChanged func(SchemaChange)

	// WarmupHook prepares a new session before anybody gets it, within
	// ConnectTimeout; an error closes the session. It runs on a goroutine of the pool.
	WarmupHook func(ctx context.Context, s *Session) error
	// HealthProbe tells whether an idle session is still good; an error closes it.
	// It runs on a goroutine of the pool with a deadline of 5 s. Default: a ping up to
	// 2025-11-25, server/discover from 2026-07-28 on.
	HealthProbe func(ctx context.Context, s *Session) error
	// Degrade lets callers through while the pool cannot warm up, as
	// core.Config.Degrade does: with sessions for one lease, without WarmupHook.
	Degrade bool
	// Lazy makes Open return without waiting for a session.
	Lazy bool

	// Hooks observe the pool. Unset hooks cost nothing.
	Hooks Hooks
	// Logger gets changes of state, each once: servers that are away and back, sessions
	// lost, circuits, schema changes. What repeats is limited to ten lines a minute of
	// each message. Sessions opened and closed in order are told at the level debug.
	// Default: none.
	Logger *slog.Logger
}

// HTTP tunes the connections to an HTTP endpoint.
type HTTP struct {
	// Client is used for its Transport and CheckRedirect. One with a Timeout is
	// refused, because that would end the streams that sessions live on, and one
	// with a Jar, because it would carry cookies from one identity to another.
	// Default: a transport of the pool's own, sized to it.
	Client *http.Client
	// TLS configures connections of the pool's own transport. Default: the system's.
	TLS *tls.Config
	// Proxy chooses a proxy for the pool's own transport. Default:
	// http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)
	// MaxEventBytes bounds one server-sent event. Default: the SDK's, 16 MiB.
	MaxEventBytes int
	// MaxBodyBytes bounds an answer that is one JSON document. Default: 16 MiB.
	MaxBodyBytes int64
}

// Command is a server that runs as a child process, in a process group of its own
// that is ended whole.
type Command struct {
	// Path is the program, looked up in PATH if it has no slash.
	Path string
	// Args follow the program's name.
	Args []string
	// Env is the whole environment, as name=value. Default: that of this process.
	// An empty non-nil slice is an empty environment.
	Env []string
	// Dir is the working directory. Default: that of this process.
	Dir string
	// StopTimeout is how long the process may take to end after its stdin was
	// closed, and again after SIGTERM, before it is killed. Default: 500 ms.
	StopTimeout time.Duration
}

// Dial says what a Config.Transport is wanted for.
type Dial struct {
	// Name is the pool's.
	Name string
	// Identity is who the session will speak as.
	Identity auth.Identity
}

// Replay says which calls may be sent again.
type Replay uint8

const (
	// ReplaySafe repeats what provably did not run.
	ReplaySafe Replay = iota
	// ReplayReadOnly also repeats what may have run if that is known to do no
	// harm: tools annotated as read-only or idempotent, and every other method.
	ReplayReadOnly
	// ReplayNever sends each call once.
	ReplayNever
)
