// Package probe is the root of the module for health probe plugins: ways to find
// out whether a session is still good, such as calling a tool and looking at its
// answer. Each will be a library package in a folder of its own, with its binary
// below it in cmd.
//
// Nothing is here yet.
package probe
