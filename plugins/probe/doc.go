// Package probe is the root of the module for health probe plugins: ways to find
// out whether a resource is still good. Each is a library package in a folder of
// its own, an implementation of sdk/probe.Prober:
//
//   - toolcall: calls a tool of an MCP server and looks at its answer
//   - http: asks a health URL beside the resource
package probe
