// Package mcpool pools sessions of the Model Context Protocol: one call reaches
// a live session that speaks with the right identity, at the speed of a warm
// connection, on every transport and in both protocol eras.
//
//	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: "https://tools.example.com/mcp"})
//	defer pool.Close(ctx)
//	res, err := pool.Call(ctx, "search", map[string]any{"q": "gophers"})
//
// It builds on package core of this project, which does the pooling, and on the
// official SDK (package mcp), whose types appear in its API.
//
// # Sharing
//
// Call, CallTool and the list, prompt and resource methods share warm sessions:
// [Config.CallsPerSession] of them run on one session at once, and callers with
// the same identity share whatever state the server keeps for a session. A caller
// that minds gives an affinity key ([WithAffinity]), which brings it back to the
// session it used before, or takes a session for itself with [Pool.Acquire].
//
// Up to protocol version 2025-11-25 a session is state at the server, and the
// pool holds several. From 2026-07-28 on, over HTTP, a server keeps no sessions:
// the pool then holds one client-side session per identity, which carries
// everything, and a leased session is not exclusive because there is nothing to
// exclude anybody from. Over stdio the process is the session in both eras.
//
// # Identity
//
// Sessions, lists and credentials belong to one identity and are never shared
// with another. A call names its identity with [WithIdentity]. A call that has a
// credential header instead ([Config.CredentialHeaders]) gets an identity formed
// from it, unless [Config.SharedEndpoint] is set. All others use
// [Config.Identity]. Credentials go to the endpoint's origin and nowhere else.
//
// # Recovery
//
// A call that provably did not run is repeated on another session until the
// caller's deadline, or for [Config.RestartGrace] if that is shorter or there is
// no deadline. One that may have run is repeated only if [ReplayReadOnly] allows
// it and the tool is annotated read-only or idempotent; otherwise it fails with
// an error that is [ErrMayHaveRun].
//
// # Concurrency
//
// All methods of [Pool] and [Session] may be called from several goroutines at
// once, and from hooks. Params given to a method are read, copied for each
// attempt and never written. Tools, prompts, resources and templates that the list
// methods return are shared with other callers: do not write to them. Callbacks
// say on which goroutine they run. A pool runs one goroutine of its own, one for
// each listener, and those of core and of the SDK for each session.
//
// # Errors
//
// What callers branch on, with errors.Is: [ErrClosed], [ErrReleased],
// [ErrMayHaveRun], [ErrSessionGone], [ErrNotOffered], [ErrNoFunction], and core.ErrExhausted, core.ErrCircuitOpen
// where no session could be had. With errors.As: [*ThrottledError], [*AuthError],
// [*StatusError], [*SessionError], [*ProcessError], [*OptionError], [*ArgumentError],
// core.PinLostError, and the SDK's jsonrpc.Error for what the server answered.
// The error of the caller's context is found where it ended the call. No error
// holds a credential.
//
// # Models and agents
//
// [Pool.Functions] has the tools in the form that the APIs of language models take,
// and [Pool.CallFunction] is the way back from a model's answer. [Pool.LangChainTools]
// has them for agents of langchaingo. With [Config.CheckArguments] arguments are
// checked against the tool's input schema before anything is sent. [ResultText] is
// what a model can read of a result.
//
// # Subscriptions
//
// [Pool.Subscribe] tells when a resource changes, for as long as the caller wants,
// through restarts of the server. [Session.Subscribe] does so for a session on lease,
// where the resource is state of that session.
package mcpool
