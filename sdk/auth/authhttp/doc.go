// Package authhttp puts an [auth.Provider] to work on HTTP requests.
//
// [Transport] is an [http.RoundTripper] for one identity and one target. Each
// attempt gets the provider's headers and, where the provider signs, a signature
// of its own; an answer of 401 or 403 is shown to the provider, and the request
// repeated if it says so, once for each kind of refusal. Credentials go to the
// origin of the target and nowhere else: a redirect that leaves it is followed
// without them.
//
// Put an [auth.Cache] between the two unless the provider answers from memory.
//
// # Concurrency
//
// A Transport is immutable and may be used by any number of goroutines. It starts
// none, except a timer around the reading of a refusal's body.
//
// # Errors
//
// Errors of the provider come back wrapped, nothing having been sent. A body that
// would have to be hashed and is too large is a [*BodyTooLargeError]. An answer
// that the provider cannot better is not an error but that answer; Config.Refused
// can make it one.
package authhttp
