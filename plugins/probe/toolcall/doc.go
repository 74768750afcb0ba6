// Package toolcall probes an MCP session by calling one of its tools and comparing
// the answer with what is expected: a value in it, the time it took, the shape of
// the tool's schemas.
//
// The tool is called again and again, so it has to be one that does no harm.
//
// # Verdicts
//
// Unhealthy: no answer within Timeout, a broken connection, a tool that fails, an
// expectation that is not met, a tool that is not there, a schema that is another.
// Degraded: all is well, but it took longer than Expect.Latency. Unknown: the target
// is no MCP session with tools, or the probe was cut short from outside.
package toolcall
