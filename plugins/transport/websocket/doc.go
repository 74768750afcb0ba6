// Package websocket carries MCP messages over a WebSocket (RFC 6455): one text
// message for each JSON-RPC message, on the subprotocol "mcp".
//
// The MCP specification has no WebSocket transport. This one speaks what servers
// that offer it agree on, and adds two private close codes: a server that closes
// with 4404 or 4410 says that it does not know the session and ran nothing without
// an answer, as 404 and 410 say over Streamable HTTP.
//
// # Credentials
//
// Headers of the configuration, then those of transport.Open, then those of
// Config.Auth go with the handshake, each replacing the same name of the one
// before; a provider that signs, signs the handshake. A redirect is a refusal:
// credentials are for the configured origin alone.
//
// # Liveness
//
// A ping goes out each PingInterval. The peer is given up if nothing at all has come
// within PingTimeout, while somebody was there to receive it, or if one message was
// stuck for SendTimeout.
//
// # Concurrency and errors
//
// As the contract in package sdk/transport has them. A Send that fails has not
// delivered its message: a frame that was not written whole is no message.
package websocket
