// Package transport is the contract between something that speaks MCP and
// something that carries its messages: a WebSocket, a remote command over SSH, a
// container, whatever a vendor's network asks for.
//
// A [Dialer] is the whole obligation of a vendor: it opens connections. A [Conn]
// carries whole JSON-RPC messages both ways and looks into none of them. The same
// interfaces are satisfied by a library compiled in and by a supervised plugin
// binary; a caller cannot tell them apart.
//
// The types of this package are its own and small. The contracts of other kinds of
// plugins do not know it and it does not know them, so that each can move alone: an
// [Identity] here says whose connection it is, and package auth says with what
// credentials. An implementation that needs those takes an auth.Provider in its
// own configuration, or finds them in [Open].Header.
//
// # Who calls what
//
// A pool calls Dial once for each session it opens, from as many goroutines at once
// as it opens sessions. On the Conn that comes back
//
//   - Send is called by one goroutine at a time, with one whole message;
//   - Receive is called by one goroutine at a time, mostly a loop that does nothing
//     else, beside Send and without waiting for it;
//   - Close is called at any time from any goroutine, and may be called again.
//
// Send blocks while the peer does not read: that is how back-pressure travels.
// Whoever does not call Receive is owed the same the other way, so an
// implementation holds a few messages at most for it and then stops reading.
//
// # Writing a transport
//
// Keep the boundaries of messages. Never deliver a part of one: what was cut off in
// mid-message is a [*CloseError] and no message. Never deliver one twice, and never
// send one twice: who may repeat what is the caller's business, and it decides by
// the errors below. Hold both directions to Open.MaxBytes. Detect a peer that is
// silently gone, by pings if the medium has nothing of its own, and say so from
// Receive. A Conn owns what it started, connections and processes and goroutines,
// and Close ends all of it.
//
// # Contexts
//
// The context of Dial bounds the opening alone; the connection outlives it. The
// context of Send and Receive bounds that call. If it ends in the middle, the
// connection may be of no more use, and the caller closes it; callers that want to
// go on therefore give contexts that end with the session. Methods return soon
// after their context ends.
//
// # Errors
//
// Errors are matched with [errors.Is] and [errors.As], so they may be wrapped.
//
// From Dial: [*RefusedError] where the peer, or a check of it, said no and will
// again; [*ConfigError] where the configuration is wrong; anything else did not
// work this time and may the next.
//
// From Send and Receive: [ErrTooLarge] for a message beyond the limit, where a
// [*SizeError] says how large; a [*CloseError] once the connection has ended, with the
// [Reason]; the context's error.
//
// Whether the message of a failed Send may have been delivered is what a caller
// needs most. An error that is [ErrNotSent] proves that the peer did not get it
// whole and will not act on it. Of every other error the contrary has to be
// assumed. If in doubt, do not claim it: a call repeated wrongly does its work twice.
//
// The text of an error never holds a credential, a header's value or a message.
package transport
