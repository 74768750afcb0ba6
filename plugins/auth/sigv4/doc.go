// Package sigv4 signs requests with AWS Signature Version 4.
//
// [New] returns an auth.Provider that is also an auth.Signer. The keys come from
// the default chain of the AWS SDK (environment, shared files, SSO, container,
// instance), optionally through AssumeRole, with session tags from the identity's
// attributes and a session of its own for each identity.
//
// Signed are host, content-type, content-length where there is a body, x-amz-*,
// and the headers named in Config.SignedHeaders. Everything else, traceparent,
// accept and last-event-id included, may be changed on the way without breaking the
// signature. The signer normalises the query; what it signed is what the caller
// must send (Signature.RawQuery). Paths are sent as they are.
//
// When a target answers 401 or 403, the provider looks for two causes that a second
// try can mend: a clock that is off, which it learns from the answer's Date and
// keeps in mind for that target, and a session token that has expired, which it
// drops. Anything else stands.
//
// # Concurrency
//
// All methods may be called from any number of goroutines. Sign answers from memory
// while keys are valid; they are renewed in the background in their last five
// minutes. Until the first keys are there, callers wait for one request for them.
//
// # Errors
//
// New joins an *auth.ConfigError per fault. A role that may not be assumed is
// auth.ErrCredentialsRejected, a throttled STS an *auth.ThrottledError. A failure is
// remembered: until the time it names, callers get it back as *auth.BackoffError.
// No error holds a key or a token.
package sigv4
