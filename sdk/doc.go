// Package sdk is what the author of a plugin binary calls from main.
//
//	func main() {
//		sdk.Main(sdk.Info{Name: "acme-auth", Version: "1.2.0"}, sdk.Auth(acme.New))
//	}
//
// is a whole plugin: [Auth] takes the same factory that a program would call which
// compiles the plugin in. [Main] speaks to the host for it. Run by hand, the binary
// explains itself, and "--describe" prints what a host would learn, as JSON.
//
// # Configuration
//
// The factory's second parameter is a struct. Its JSON Schema is derived from it,
// and an instance's configuration is decoded into it strictly, by package sdk/config. A
// member is called as the field's json tag says, else as the field; embedded structs
// lend theirs, and a time.Duration is a string such as "1m30s". No member is required by
// the schema: the zero value is the default, and the factory refuses what has none.
// Fields of the type
// auth.Secret are secrets: the host delivers them apart from the configuration, and
// one that stands in it is refused. A map of secrets, such as headers, may have members of
// both origins. In a list, or below another map, nothing could deliver a secret: Main says
// so. Return the *ConfigError of the kind's package for what is wrong with a value, all
// faults joined; they reach the host as they are.
//
// # Logging
//
// Main sets slog's default logger. What is logged with it, or with the logger that
// [InstanceOf] returns, reaches the host with its level and attributes. Everything
// that is printed to stdout or stderr reaches the host's log too, as it is. Nothing
// may be printed to stdout before Main is called.
//
// # Errors
//
// Errors cross the wire with all that the package of their kind (auth, transport,
// probe, metrics) says a caller may branch on. The
// host also learns whether the plugin failed or what it talks to: network errors,
// throttling and refusals are the latter, and an error with a method
//
//	Downstream() bool
//
// says so itself.
//
// # Life
//
// A panic in a call fails that call. SIGTERM and SIGINT are ignored, because they
// often reach a host's whole process group: the host drains first, then asks for a
// shutdown, and closes the lifeline. When the host is gone, the kernel closes it. Either
// way the plugin closes the instances that are open still, for which it has two seconds,
// removes its folder, unless another process of the host goes on there, and kills what is
// in its process group: the host may be gone before it could. It exits with status 0,
// or is killed with its group where the host is gone. SIGPIPE and SIGHUP do not keep it
// from that: what is written to stdout or stderr then fails with EPIPE. Call Main in
// main's own goroutine: on Linux only there it can have the time for this.
package sdk
