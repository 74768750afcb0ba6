//go:build unix

package host

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestALogLineIsARecordOrIsShownAsItIs(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`{"level":"WARN","msg":"m","n":1,"f":1.5,"b":true,"s":"x","g":{"a":[1]},"z":null}`: `WARN m b=true f=1.5 g={"a":[1]} n=1 s=x z=null`,
		`{"level":"INFO+2","msg":""}`:                     "INFO+2 ",
		`{"time":"x","level":"DEBUG","msg":"a\u001b[2J"}`: "DEBUG a [2J",
	} {
		level, msg, attrs, ok := parseRecord([]byte(line))
		var got strings.Builder
		got.WriteString(level.String() + " " + msg)
		for _, a := range attrs {
			got.WriteString(" " + a.String())
		}
		if !ok || got.String() != want {
			t.Errorf("%s: got %q, %v, want %q", line, got.String(), ok, want)
		}
	}
	for _, line := range []string{"", "x", "{", "[]", "null", `{"level":1,"msg":"m"}`, `{"level":"LOUD","msg":"m"}`, `{"level":"INFO","msg":1}`, `{"@message":1}`} {
		if _, _, _, ok := parseRecord([]byte(line)); ok {
			t.Errorf("%s was taken for a record", line)
		}
	}
}

func FuzzOutputOfAPluginHarmsNobody(f *testing.F) {
	for _, line := range poison {
		f.Add([]byte(line + "\n"))
	}
	f.Add([]byte("1|1|unix|/x|grpc|\nhello"))
	f.Fuzz(func(t *testing.T, data []byte) {
		sink := &logSink{log: slog.New(slog.DiscardHandler), limit: -1}
		l := &lines{each: sink.structured}
		h := newHandshake(sink.raw("stdout"))
		go func() {
			buf := make([]byte, 1024)
			for {
				if _, err := h.r.Read(buf); err != nil {
					return
				}
			}
		}()
		for len(data) > 0 {
			n := min(len(data), 7)
			l.Write(data[:n])
			h.Write(data[:n])
			data = data[n:]
		}
		l.end()
		h.close()
		if len(l.buf) > maxLine {
			t.Errorf("%d bytes are kept", len(l.buf))
		}
	})
}

func TestLinesAreCutAtTheLimitAndNothingIsKept(t *testing.T) {
	t.Parallel()
	var got []string
	l := &lines{each: func(line []byte, cut bool) { got = append(got, string(line[:min(len(line), 3)])); _ = cut }}
	l.Write(bytes.Repeat([]byte("x"), 3*maxLine))
	l.Write([]byte("tail\nnext\r\n\nlast"))
	l.end()
	if strings.Join(got, ",") != "xxx,nex,las" {
		t.Errorf("%q", got)
	}
}

func TestTheWaitDoublesUpToItsLimit(t *testing.T) {
	t.Parallel()
	l := &Limits{RestartMin: 100 * time.Millisecond, RestartMax: time.Second}
	want := []time.Duration{0, 0, 100, 200, 400, 800, 1000, 1000}
	for failures, w := range want {
		if got := backoff(l, failures); got != w*time.Millisecond {
			t.Errorf("after %d failures %v, want %v", failures, got, w*time.Millisecond)
		}
	}
	if got := backoff(l, 1<<30); got != time.Second {
		t.Errorf("after very many %v", got)
	}
	for range 100 {
		if j := jitter(time.Second); j < time.Second/2 || j > time.Second {
			t.Fatalf("jitter made %v of a second", j)
		}
	}
}

func TestABinaryForAnotherPlatformIsNamed(t *testing.T) {
	t.Parallel()
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil || runtime.GOOS != "linux" {
		t.Skip("needs the header of a Linux binary")
	}
	machine := byte(0xb7) // arm64
	if runtime.GOARCH == "arm64" {
		machine = 0x3e // amd64
	}
	exe[18] = machine
	p := part(t, "good")
	p.Path, p.SHA256, p.AllowUnverified = filepath.Join(t.TempDir(), "foreign"), "", true
	if err := os.WriteFile(p.Path, exe, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = Launch(t.Context(), p)
	if err == nil || !strings.Contains(err.Error(), "is a binary for linux/") {
		t.Errorf("got %v", err)
	}
}

func TestASealedImageCannotBeChanged(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("there are no memory files here")
	}
	p := part(t, "good")
	img, err := newImage(&p, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer img.close()
	if img.file == nil {
		t.Skip("memory files are forbidden here")
	}
	if _, err := img.file.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a byte was changed")
	}
	if img.file.Truncate(0) == nil {
		t.Error("it was cut")
	}
}

func TestOriginsAreCompared(t *testing.T) {
	t.Parallel()
	target := request("x").Target
	for url, ok := range map[string]bool{
		"https://api.example/other?q": true, "https://API.example:443/": true, "HTTPS://api.example/": true,
		"http://api.example/": false, "https://api.example:8443/": false, "https://evil.example/": false,
		"https://api.example@evil.example/": false, "://": false, "": false,
	} {
		if got := checkOrigin(target, url) == nil; got != ok {
			t.Errorf("%q: %v, want %v", url, got, ok)
		}
	}
}
