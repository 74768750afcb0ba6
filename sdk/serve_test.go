package sdk

import (
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

func TestTheLimitOfAMessageIsTheHostsIfItIsOne(t *testing.T) {
	for text, want := range map[string]int{
		"1048576": 1 << 20, "1": 1, "0": wire.DefaultMaxMessage, "-1": wire.DefaultMaxMessage, "": wire.DefaultMaxMessage, "1 MiB": wire.DefaultMaxMessage,
	} {
		t.Setenv(wire.EnvMaxMessage, text)
		if got := messageLimit(); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestWhatTheHostDoesNotWantInItsLogIsNotWritten(t *testing.T) {
	logged(t) // puts the default logger back
	for level, want := range map[string]string{
		"DEBUG": "DEBUG INFO WARN ERROR", "INFO": "INFO WARN ERROR", "WARN": "WARN ERROR", "ERROR": "ERROR", "ERROR+1": "",
		"": "INFO WARN ERROR", "loud": "INFO WARN ERROR",
	} {
		t.Setenv(wire.EnvLogLevel, level)
		f, err := os.Create(filepath.Join(t.TempDir(), "log"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		logTo(f)
		for _, at := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			slog.Log(t.Context(), at, "hello")
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		var got []string
		for d := json.NewDecoder(f); d.More(); {
			var rec struct{ Level string }
			if err := d.Decode(&rec); err != nil {
				t.Fatal(err)
			}
			got = append(got, rec.Level)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %s", level, got, want)
		}
	}
}

func TestALifelineIsADescriptorOfTheHosts(t *testing.T) {
	for text, want := range map[string]int{"stdin": 0, "3": 3, "17": 17, "0": -1, "1": -1, "2": -1, "-1": -1, "": -1, "x": -1} {
		t.Setenv(wire.EnvLifeline, text)
		fd, ok := lifelineFD()
		if ok != (want >= 0) || ok && fd != want {
			t.Errorf("%q: %d, %v", text, fd, ok)
		}
	}
}

func TestOnlyAFolderOfAHostsIsSwept(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, swept := range map[string]bool{
		filepath.Join(dir, wire.RunDirPrefix+"1"): true, filepath.Join(dir, "home"): false, wire.RunDirPrefix + "2": false,
		filepath.Join(dir, wire.RunDirPrefix+"3", "home"): false,
	} {
		if err := os.MkdirAll(filepath.Join(name, "s"), 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv(wire.EnvRunDir, name)
		sweep()
		if _, err := os.Lstat(name); os.IsNotExist(err) != swept {
			t.Errorf("%s: %v", name, err)
		}
	}
}
