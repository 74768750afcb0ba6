package ssh

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// copies counts the processes of a group that hand stdin on.
func copies(t *testing.T, group int) int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range all {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // gone meanwhile
		}
		var state string
		var parent, of int
		_, rest, _ := strings.Cut(string(stat), ") ")
		if _, err := fmt.Sscan(rest, &state, &parent, &of); err == nil && of == group && state != "Z" && strings.Contains(string(stat), "(cat)") {
			n++
		}
	}
	return n
}

// A signal of the server ends the copy of stdin, which then sees no end of it any more,
// and not a command that minds none. A line that is cut before the next signal leaves
// only the server's process to go by. That one is played by a shell: for root,
// sshd passes no signals on.
func TestALineThatIsCutBetweenTwoSignalsEndsTheCommand(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip(err)
	}
	cfg := Config{Command: []string{"sh", "-c", `trap "" TERM; echo command $$; exec sleep 3600`}}
	stdin, line, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	server := exec.Command("sh", "-c", `setsid sh -c "$1" <&3 & echo group $!; exec 3<&-; wait; exec sleep 3600`, "sh", cfg.remote())
	server.ExtraFiles = []*os.File{stdin}
	out, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	_ = stdin.Close()
	if err != nil {
		t.Fatal(err)
	}
	cut := sync.OnceFunc(func() { // as when the line is cut, and the server has noticed
		_ = line.Close()
		_ = server.Process.Kill()
		_ = server.Wait() // a dead process that nobody has taken note of is there still
	})
	defer cut()
	var group, command int
	for lines := bufio.NewScanner(out); (group == 0 || command == 0) && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "group %d", &group)
		_, _ = fmt.Sscanf(lines.Text(), "command %d", &command)
	}
	if group == 0 || command == 0 {
		t.Fatal("it did not start")
	}
	defer func() { _ = syscall.Kill(-group, syscall.SIGKILL) }()
	poll(t, "stdin to be handed on", func() bool { return copies(t, group) > 0 })
	poll(t, "the copy of stdin to be gone", func() bool {
		_ = syscall.Kill(-group, syscall.SIGTERM) // again: a starting shell may lose one
		return copies(t, group) == 0
	})
	if !running(command) {
		t.Fatal("the command minded the signal")
	}
	cut()
	poll(t, "the command to be gone", func() bool { return !running(command) })
}
