// Package exec carries MCP messages over the stdio of a local command that wraps
// the server: docker exec, kubectl exec, nsenter, sudo, firejail, a shell.
//
// The command is a list of arguments. There is no shell, and ${name} in an argument
// stands for a value: of Config.Values, or of what is dialled:
//
//	${target.name} ${target.url} ${identity.id} ${identity.attrs.NAME} ${session}
//
// The last is a name that no other session has. A value that begins with "-" is
// refused where it would begin an argument, so that nobody's name becomes an option.
//
// # Nothing is left behind
//
// The command runs in a process group of its own. At the end its stdin is closed;
// what is still there after StopTimeout gets SIGTERM, and SIGKILL after as much
// again. On Linux processes that left the group, in a session of their own, are
// found by a variable that all of them inherited, MCPOOL_EXEC_SESSION, unless they
// run as another user or without that environment. What runs elsewhere, in a
// container, is not this process's to kill: After is run for that when a session is
// over, and can find it by ${session}.
//
// If this process itself is killed, the kernel kills the command on Linux. What the
// command started, and the command elsewhere, has only the end of its stdin to go by.
package exec
