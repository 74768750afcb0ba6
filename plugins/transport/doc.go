// Package transport is the root of the module for transport plugins: ways to
// reach an MCP server beyond those that package mcpool has built in, such as
// WebSocket and SSH. Each will be a library package in a folder of its own, with
// its binary below it in cmd.
//
// Nothing is here yet.
package transport
