// Package auth is the contract between something that sends HTTP requests and
// something that knows the credentials for them.
//
// A [Provider] is the whole obligation of a vendor: it hands out headers for an
// identity and a target, and answers when a server refuses them. Three
// optional interfaces add power: a [Signer] computes headers from the request itself
// (SigV4, DPoP), an [Interactive] provider can take a person through a login, an
// [Observer] reads along in answers that are no refusals. The same interfaces are satisfied by a library compiled in, by a supervised
// plugin binary, and by the [Cache] in front of either; a caller cannot tell
// them apart.
//
// # Who calls what
//
// For each attempt to send a request, the caller (package authhttp, or a pool)
//
//  1. calls Credentials, and sets the headers it returns;
//  2. if [AsSigner] finds a signer, calls Sign with the request as it will be on
//     the wire, those headers included, and sets what comes back;
//  3. sends it. If the answer is 401 or 403, it calls Challenge with what was sent
//     and what came back; on [Retry] it starts again at 1. It does so once for each
//     kind of refusal: that there were no credentials (those of the provider held no
//     header and no signature), that they are not good, that they are for too
//     little, that a proof lacks a nonce ([Reason]). A second refusal of the same kind
//     stands, so that a request is sent five times at most.
//  4. If [AsObserver] finds an observer, tells it of any other answer that has one of
//     the headers it wants to see.
//
// Almost always a [Cache] stands between the two: it answers step 1 from memory
// and lets Credentials reach the provider only when there is something to fetch.
// Login is called by an application or an operator's tool, never by a request.
//
// Nothing but the origin of Target.URL is ever sent credentials.
//
// # Writing a provider
//
// The least that works is a Credentials method which returns a header, a
// Challenge method which returns GiveUp, and a Close method which returns nil.
// Say when a credential expires, and the cache renews it early. Set a Generation
// and a late 401 for an old credential costs nobody a refresh. Return the errors
// below, and callers know whether to wait, to ask a person, or to give up.
//
// # Concurrency
//
// Every method of a Provider, Signer, Observer or Interactive may be called from any number
// of goroutines at once, for the same and for different identities. Behind a
// Cache, Credentials runs at most once at a time per identity, target and scopes,
// and so does Challenge per refused credential; Sign is passed through with all
// the concurrency of the caller, and so is Observe. Methods may block on I/O until their context
// ends, and must return soon after it does. Contexts given to Credentials and
// Challenge by a Cache outlive the caller that caused the call: they keep its
// values and not its deadline, and end at the cache's own timeout or at its Close.
//
// What a Request, a Challenge or a Credentials refers to (maps, slices) is
// read-only for everybody who did not make it, and may be kept.
//
// Close is called once, when no other call is running, and ends what the provider
// started. No method is called after it.
//
// # Errors
//
// Errors are matched with [errors.Is] and [errors.As], so they may be wrapped:
//
//   - [ErrCredentialsRejected]: the source of credentials said no. Trying again
//     with the same configuration will not help.
//   - [ErrInteractionRequired]: a person must log in first.
//   - [*ThrottledError]: the source said to come back later, and when.
//   - [*ConfigError]: the configuration is wrong; it names the field.
//   - [ErrUnsupported]: this provider, or this host, cannot do what was asked.
//   - the context's error, when the context ended.
//   - anything else: did not work this time; may work the next.
//
// The text of an error never holds a credential, a token or a key, and never the
// body of a token endpoint's answer as it came.
package auth
