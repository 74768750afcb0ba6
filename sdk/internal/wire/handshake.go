// Package wire is what both sides of a plugin's wire share: the handshake, how
// errors cross, and how the types of each kind become messages, one file per kind.
package wire

import "time"

// The handshake of go-plugin. The cookie tells a person who runs the binary by hand
// from a host; it is no security.
const (
	CookieKey    = "MCPOOL_PLUGIN"
	CookieValue  = "d7b1f0c1-mcpool-plugin"
	ProtoVersion = 1
	PluginName   = "mcpool"
)

// Variables that the host sets for the plugin, besides those of go-plugin.
const (
	// EnvLifeline is the number of a file descriptor, or "stdin": where the plugin
	// reads until the end of file, which means that the plugin is to end: the host is
	// gone, or has closed it.
	EnvLifeline = "MCPOOL_LIFELINE"
	// EnvRunDir is what the plugin removes when it ends, unless a Shutdown said that it is
	// not the last: then another process of the same host uses it.
	EnvRunDir = "MCPOOL_RUN_DIR"
	// EnvMaxMessage bounds a message in bytes, in both directions.
	EnvMaxMessage = "MCPOOL_MAX_MESSAGE_BYTES"
	// EnvLogLevel is the least level to log, as slog writes it.
	EnvLogLevel = "MCPOOL_LOG_LEVEL"
	// EnvImage is the number of a descriptor that is only there to be executed.
	EnvImage = "MCPOOL_IMAGE"
)

// DefaultMaxMessage is used where EnvMaxMessage is not set.
const DefaultMaxMessage = 16 << 20

// SocketDirEnv is go-plugin's.
const SocketDirEnv = "PLUGIN_UNIX_SOCKET_DIR"

// TraceparentKey carries the W3C trace context in a call's metadata.
const TraceparentKey = "traceparent"

// CloseGrace is what a plugin whose host is gone may spend on closing its instances.
const CloseGrace = 2 * time.Second

// The kinds of plugins.
const (
	KindAuth      = "auth"      // hands out credentials
	KindTransport = "transport" // carries messages
	KindProbe     = "probe"     // tells whether resources are still good
	KindMetrics   = "metrics"   // takes numbers to where they go
)

// Kinds lists them all.
func Kinds() []string { return []string{KindAuth, KindTransport, KindProbe, KindMetrics} }

// Capabilities of the kind auth; the kind transport has CapSubject too.
const (
	CapSign    = "sign"
	CapLogin   = "login"
	CapSubject = "subject"
	CapObserve = "observe"
)

// Window is the flow-control window of a connection and of each of its streams. It is
// fixed: the two ends share a machine, and what gRPC does to find out the best one, a
// ping after nearly every message, wakes both processes once more for each call.
const Window = 1 << 20
