package ssh

import "strings"

// watch wraps a command in a few lines of sh that end its process group once its
// stdin has come to an end, and end with it. sshd gives each command a session, and
// with it a process group, of its own.
//
// On the left stdin is handed on; at its end the right side sees that end at once,
// and has a moment before the group is told to go, and another before it is killed.
// On the right, whatever the command leaves behind goes with it, and so does the
// left side. The shell in between does not mind SIGTERM, so that it can say how the
// command ended; the command itself gets the signal as usual, because a shell resets
// what it traps for those it starts.
//
// The left side is such a one too, and a signal that comes before it has reset
// anything is lost on it: a command that ends at once would then seem to run on. So
// the right side goes on signalling until its own stdin has come to an end, which
// only the end of the left side brings about.
const watch = `trap : TERM; ` +
	`{ cat; exec >&-; sleep 1; trap : TERM; kill -TERM 0; sleep 1; kill -KILL 0; } | ` +
	`{ COMMAND; s=$?; trap "" TERM; kill -TERM 0; ` +
	`{ while kill -TERM 0; do sleep 1; done; } >/dev/null 2>&1 & k=$!; cat >/dev/null; kill -KILL $k; exit $s; }`

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
