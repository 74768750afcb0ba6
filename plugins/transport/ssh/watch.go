package ssh

import "strings"

// watch wraps a command in a few lines of sh that end its process group once its
// stdin has come to an end, and end with it. sshd gives each command a session, and
// with it a process group, of its own.
//
// On the left of the pipe stdin is handed on; at its end the right side sees that end
// at once, and has a moment before the group is told to go, and another before it is
// killed. On the right, whatever the command leaves behind goes with it, and so does the
// left side. The shell in between does not mind SIGTERM, so that it can say how the
// command ended; the command itself gets the signal as usual, because a shell resets
// what it traps for those it starts.
//
// The left side is such a one too, and a signal that comes before it has reset
// anything is lost on it: a command that ends at once would then seem to run on. So
// the right side has the signal repeated, and waits until its own stdin has come to an
// end, which only the end of the left side brings about. Once the shell in between has
// said how the command ended and is gone, what minds no SIGTERM is killed.
//
// A command that does not read blocks the left side, which then sees no end of stdin;
// and a signal of the server's ends the left side, though not each command. So the
// first lines watch the parent besides, which is the server's process for this
// connection, and gone with it. A server may have no such process, or not let it be
// seen: then its stdin is all there is to go by. They hold none of the session's pipes,
// and are killed with what is left of the group.
const watch = `trap "" TERM; ` +
	`{ kill -0 $PPID && { while kill -0 $PPID; do sleep 5; done; sleep 1; kill -TERM 0; sleep 1; kill -KILL 0; }; } >/dev/null 2>&1 & ` +
	`trap : TERM; ` +
	`{ cat; exec >&-; sleep 1; trap : TERM; kill -TERM 0; sleep 1; kill -KILL 0; } | ` +
	`{ COMMAND; s=$?; trap "" TERM; kill -TERM 0; ` +
	`{ for i in 1 2 3 4 5 6 7 8 9; do kill -TERM 0; sleep 1; kill -0 $$ || break; done; kill -KILL 0; } >/dev/null 2>&1 & ` +
	`cat >/dev/null; exit $s; }`

// remote is the line that the remote shell is given.
func (c *Config) remote() string {
	quoted := make([]string, len(c.Command))
	for i, arg := range c.Command {
		quoted[i] = quote(arg)
	}
	line := strings.Join(quoted, " ")
	if c.Unwatched {
		return line
	}
	return "exec sh -c " + quote(strings.Replace(watch, "COMMAND", line, 1))
}

// quote makes one word of text for any shell of the Bourne family.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
