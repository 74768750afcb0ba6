//go:build unix

package host

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
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
	info, err := img.file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if img.file.Truncate(info.Size()+1) == nil {
		t.Error("it was made longer")
	}
}

func TestABinaryIsNeitherEndlessNorHasItsDigestACase(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	p.SHA256 = strings.ToUpper(p.SHA256)
	img, err := newImage(&p, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if img.digest != strings.ToLower(p.SHA256) {
		t.Errorf("its digest is %s", img.digest)
	}
	img.close()
	p.Path = filepath.Join(t.TempDir(), "large")
	writeFile(t, p.Path, "", 0o700)
	if err := os.Truncate(p.Path, maxImage+1); err != nil { // it occupies nothing
		t.Fatal(err)
	}
	if _, err := newImage(&p, t.TempDir()); err == nil || !strings.Contains(err.Error(), "is larger than 1 GiB") {
		t.Errorf("got %v", err)
	}
}

// half is a reader that breaks.
type half struct{ read bool }

func (h *half) Read(b []byte) (int, error) {
	if h.read {
		return 0, errors.New("the disk is gone")
	}
	h.read = true
	return copy(b, "half"), nil
}

func TestOfACopyThatFailsNothingIsLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := copyToFile(&half{}, dir); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("there are %v, %v", left, err)
	}
	if _, err := copyImage(&half{}, dir); err == nil {
		t.Error("half a binary was taken")
	}
}

func TestAHandshakeIsOneOrIsRefused(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"1|1|unix|/x|grpc": "", "1|1|unix|/x|grpc|": "", "1|1|tcp|127.0.0.1:1|grpc|cert": "",
		"2|1|unix|/x|grpc":    "speaks version 2 of the handshake, not 1",
		"1|2|unix|/x|grpc":    "speaks version 2 of the base protocol, not 1",
		"1|x|unix|/x|grpc":    "speaks version x of the base protocol, not 1",
		"1|1|unix|/x|netrpc":  "where the handshake was due",
		"1|1|unix|/x":         "where the handshake was due",
		"x|1|unix|/x|grpc":    "where the handshake was due",
		"hello":               `printed "hello" where the handshake was due`,
		"\x1b|1|unix|/x|grpc": `printed " |1|unix|/x|grpc" where the handshake was due`,
	} {
		if got := checkHandshake([]byte(line), false); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	if got := checkHandshake([]byte("1|1|unix|/x|grpc"), true); got == "" {
		t.Error("one that was cut was taken")
	}
	if n := len(checkHandshake(bytes.Repeat([]byte("x"), maxLine), false)); n > 300 {
		t.Errorf("a long line is repeated with %d bytes", n)
	}
}

func TestAPluginMayListenWhereNobodyElseDoes(t *testing.T) {
	t.Parallel()
	for _, kase := range []struct {
		network, address string
		tls, ok          bool
	}{
		{"unix", "/s/x", false, true}, {"unix", "/s/../s/x", false, true}, {"unix", "/s/../x", false, false}, {"unix", "/s/x/y", false, false},
		{"tcp", "127.0.0.1:1", true, true}, {"tcp", "[::1]:1", true, true}, {"tcp", "127.0.0.1:1", false, false},
		{"tcp", "10.0.0.1:1", true, false}, {"tcp", "localhost:1", true, false}, {"tcp", "127.0.0.1", true, false},
		{"udp", "127.0.0.1:1", true, false}, {"", "/s/x", true, false},
	} {
		c := &child{sockets: "/s", tls: kase.tls}
		if n, a, err := c.PluginToHost(kase.network, kase.address); (err == nil) != kase.ok || err == nil && (n != kase.network || a != kase.address) {
			t.Errorf("%+v: %v %v %v", kase, n, a, err)
		}
	}
}

func TestAQueryIsEscaped(t *testing.T) {
	t.Parallel()
	for q, ok := range map[string]bool{
		"": true, "a=b&c=%20": true, "a=~!": true, "a b": false, "a#b": false, "a\nb": false, "a\x7fb": false, "\xc3\xa9": false,
	} {
		if err := checkQuery(q); (err == nil) != ok {
			t.Errorf("%q: %v", q, err)
		}
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
	for _, url := range []string{"", "https://api.example/"} {
		if err := checkOrigin(auth.Target{}, url); err == nil || !strings.Contains(err.Error(), "Request.Target has no URL") {
			t.Errorf("%q without a target: %v", url, err)
		}
	}
	target.URL = "http://api.example:80/mcp"
	for url, ok := range map[string]bool{"http://api.example/": true, "http://api.example:443/": false, "ftp://api.example:80/": false} {
		if got := checkOrigin(target, url) == nil; got != ok {
			t.Errorf("%q: %v, want %v", url, got, ok)
		}
	}
}
