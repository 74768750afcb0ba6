// Package poolotel reports pools to OpenTelemetry: spans and metrics, through the API
// alone. Which SDK takes them, and where it sends them, is the program's choice.
//
//	telemetry, err := poolotel.New(poolotel.Config{})
//	…
//	pool, err := core.New(core.Config[*conn]{Name: "db", Open: dial, Hooks: telemetry.Hooks("db")})
//	…
//	err = telemetry.Add("db", pool)
//
// A pool of MCP sessions takes MCPHooks and AddMCP. Its calls are client spans in the
// caller's trace, which goes on at the server: over HTTP headers and in _meta.
// docs/metrics.md lists all names.
//
// # Conventions
//
// Names of calls and sessions are those of the semantic conventions for MCP in
// version 1.41.0, the last that has them in the main repository; they are still in
// development there. The metrics mcpool.resource.* follow those for client
// connection pools.
//
// # What is never reported
//
// Ids of sessions, identities, headers, arguments, results and the texts of errors:
// any of them may hold what is nobody's business. Config.Allow lets some through by
// name. The name of a tool is reported if the server's list of tools has it.
//
// # Concurrency
//
// Everything may be called from any goroutine at any time.
package poolotel
