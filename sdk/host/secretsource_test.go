//go:build unix

package host

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// script writes a program.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	writeFile(t, path, "#!/bin/sh\n"+text+"\n", 0o700)
	return path
}

func TestSecretsComeFromVariablesFilesAndPrograms(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	writeFile(t, file, "from a file\r\n", 0o600)
	t.Setenv("A_SECRET", "from a variable")
	for from, want := range map[string]string{
		"env:A_SECRET": "from a variable",
		"file:" + file: "from a file",
		"command:" + script(t, `printf '%s-%s\n\n' "$1" "$2"`) + " from  here": "from-here\n",
	} {
		s := SecretSource{From: from}
		if problem := s.check(); problem != "" {
			t.Errorf("%s %s", from, problem)
		}
		got, err := s.fetch(t.Context())
		if err != nil || got.Reveal() != want {
			t.Errorf("%s: %q, %v; want %q", from, got.Reveal(), err, want)
		}
	}
}

func TestASourceThatGivesNoSecretSaysWhyAndNotWhat(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		writeFile(t, path, content, 0o600)
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AN_EMPTY_SECRET", "\n")
	for from, want := range map[string]string{
		"env:NO_SUCH_SECRET":         "not set",
		"env:AN_EMPTY_SECRET":        "gave nothing",
		"file:" + dir + "/none":      "no such file",
		"file:" + dir:                "is not a file",
		"file:" + fifo:               "is not a file",
		"file:" + write("empty", ""): "gave nothing",
		"file:" + write("large", strings.Repeat("hush", 1e5)):             "larger than 64 KiB",
		"command:" + dir + "/none":                                        "no such file",
		"command:" + script(t, "echo hush; echo hush >&2; exit 3"):        "exit status 3",
		"command:" + script(t, "while echo hushhushhushhush; do :; done"): "more than 64 KiB",
		"command:" + script(t, "head -c 65537 /dev/zero"):                 "more than 64 KiB",
		"command:" + script(t, ":"):                                       "gave nothing",
	} {
		_, err := SecretSource{From: from}.fetch(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v, want %q", from, err, want)
		}
	}
}

// It has the rights of this program.
func TestAProgramThatOthersCanWriteToIsNotRun(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	program := script(t, "touch "+mark+"; echo hush")
	if err := os.Chmod(program, 0o722); err != nil {
		t.Fatal(err)
	}
	_, err := SecretSource{From: "command:" + program}.fetch(t.Context())
	if err == nil || !strings.Contains(err.Error(), "can be written by others") || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("got %v", err)
	}
	if exists(mark) {
		t.Error("it was run")
	}
}

// A program that hangs is ended with what it started, when nobody waits any more.
func TestAProgramIsEndedWithItsGroup(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	program := script(t, `sleep 1000 & echo $! > `+mark+`.new && mv `+mark+`.new `+mark+`; wait`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		_, err := SecretSource{From: "command:" + program}.fetch(ctx)
		failed <- err
	}()
	eventually(t, "the program starts", func() bool { return exists(mark) })
	cancel()
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "did not end in time") {
		t.Errorf("got %v", err)
	}
	text, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "what it started ends", func() bool { return !alive(pid) })
}
