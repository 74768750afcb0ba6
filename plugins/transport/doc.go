// Package transport is the root of the module for transport plugins: ways to
// reach an MCP server beyond those that package mcpool has built in. Each is a
// library package in a folder of its own, an implementation of
// sdk/transport.Dialer:
//
//   - websocket: messages over a WebSocket
//   - ssh: the stdio of a remote command
//   - exec: the stdio of a local command that wraps another, such as docker exec
package transport
