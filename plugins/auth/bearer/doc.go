// Package bearer sends a token that comes from somewhere else: from the
// configuration, from a file, or from a command.
//
// A file is read again when it changes. That includes the usual way to change one
// safely, writing another and renaming it over the first, and the symbolic links
// by which Kubernetes mounts secrets. White space around the token is no part of it;
// a token with white space inside is refused, as is a file of more than 64 KiB. Who
// can read the file can use the token: New does not refuse a file that others can
// read, because some platforms mount secrets that way, but reports it once through
// Config.Warn.
//
// A command is run without a shell. It prints either the token alone, which is then
// used for Config.Command.TTL, or a JSON object:
//
//	{"token": "…", "expires_at": "2026-01-02T15:04:05Z"}
//	{"token": "…", "expires_in": 3600}
//
// expires_at is RFC 3339, expires_in counts seconds from the end of the command;
// access_token is understood as another name for token, and other members are
// ignored. Output that begins with "{" is taken for JSON. It is run again in the
// last quarter of that time, when the target refuses the token, and never twice at
// once for the same identity when there is an auth.Cache in front.
//
// # Concurrency
//
// All methods may be called from any number of goroutines. There are no background
// goroutines. Put an auth.Cache in front, unless the token is static: each
// Credentials call looks at the file, or runs the command.
//
// # Errors
//
// New joins an *auth.ConfigError per fault. A file that is missing or empty, and a
// command that fails, are plain errors that may pass; the last line of what the
// command wrote to stderr is in the error, unless the token it printed is in there.
// No error holds a token.
package bearer
