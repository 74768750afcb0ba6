// Package interop has no code: its tests treat servers of other SDKs badly, the
// reference server of the TypeScript SDK and one of the Python SDK, and look what
// becomes of calls, goroutines, processes and descriptors.
package interop
