// Package oauth obtains OAuth 2.1 access tokens for MCP servers, as an
// [auth.Provider] that compiles in.
//
// [New] takes a [Config] whose zero value is the usual case: the server's 401 says
// where to go (RFC 9728, then RFC 8414 or OpenID Connect discovery), the client
// registers itself where it has to (RFC 7591), a person logs in once through
// [Provider.Login] (authorization code with PKCE, or a device code), and from then
// on tokens are refreshed. [ClientCredentials], [TokenExchange],
// [IdentityAssertion] and [JWTBearer] need nobody. Put an [auth.Cache] in front:
//
//	provider, err := oauth.New(oauth.Config{ … })
//	cache, err := auth.NewCache(provider, auth.CacheConfig{})
//
// Every token is requested for one resource (RFC 8707), and is kept under its
// issuer, client, resource and identity: what was issued for one never reaches
// another. Tokens, refresh tokens and registrations live in a [TokenStore];
// [OpenFileStore] shares them between processes and restarts.
//
// # What is not trusted
//
// A server that can name an authorization server could name a false one. So
// metadata must be that of the issuer asked for, the "iss" of an authorization
// response must be the issuer's (RFC 9207), and resource metadata must describe the
// target. Nothing is fetched except over HTTPS, or HTTP to loopback when the target
// or the configured issuer is there. Hosts that were discovered, not configured,
// must have public addresses when they are dialled, whatever their names say;
// Config.PrivateNetworks makes exceptions. Token requests follow no redirects. A
// client secret or a subject token goes to discovered servers only with
// Config.AnyIssuer.
//
// # Concurrency
//
// All methods may be called from any number of goroutines. A token is fetched by
// one goroutine per entry of the store, whatever becomes of the callers who wait:
// a refresh token that was spent is worth nothing if its answer is thrown away.
// Processes that share a [FileStore] take turns in the same way. A Provider starts
// no other goroutines; Close waits for them. Callbacks (Identity.Subject,
// Config.OnFailure) run in those goroutines without locks of this package, except
// that Subject is called while the store holds the lock of that entry.
//
// # Errors
//
// Errors of the servers are [*EndpointError]: which endpoint, what was tried, what
// it answered and what to do. errors.Is and errors.As also find
// [auth.ErrCredentialsRejected] (invalid_client, invalid_grant and the like),
// [auth.ErrInteractionRequired] (log in, or log in again), [*auth.ThrottledError]
// (429, 503, with Retry-After), [auth.ErrUnsupported], and [*auth.ConfigError] from
// New. While a token is still valid, a renewal that fails for now is no error: the
// old token is returned and Config.OnFailure told.
package oauth
