// Package examples is the root of the module for examples: programs that show
// one thing each and are run as tests. Each lives in a folder of its own; the
// benchmarks, in bench, are a module of their own outside the workspace.
package examples
