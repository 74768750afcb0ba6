// Package ssh carries MCP messages over the stdio of a command that runs on another
// machine, reached by SSH.
//
// # Trust
//
// The server's key has to be in a known_hosts file; a key that is not there, or is
// another one, is a refusal, and there is no switch to turn that off. The client
// comes with keys from files and from an agent.
//
// # Nothing is left behind
//
// Each session has an SSH connection of its own. At the end the command's stdin is
// closed; what is still there after StopTimeout gets SIGTERM, and SIGKILL after as
// much again. For the case that the line is cut, the command runs under a watch: a
// few lines for the remote sh that end the command's process group once its stdin
// has come to an end, or the server's process for the connection is gone. Where the
// remote account has no POSIX sh, turn that off with Unwatched; a command that does not
// end with its stdin then outlives a cut line, and for root any end, because OpenSSH
// passes no signals on there.
package ssh
