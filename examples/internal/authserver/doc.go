// Package authserver is an OAuth 2.1 authorization server for the examples: small,
// in memory, on loopback, and real. It speaks server metadata (RFC 8414), dynamic
// registration (RFC 7591), the authorization code grant with PKCE (RFC 7636) and the
// issuer in its answer (RFC 9207), device codes (RFC 8628), client credentials,
// refresh tokens that are good once (a second use ends the login), resource
// indicators (RFC 8707) and revocation (RFC 7009); and it guards MCP servers, with
// resource metadata (RFC 9728).
//
// People say who they are and are believed: that is what makes it an example.
package authserver
