//go:build unix

package host

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/go-mcpool/mcpool/sdk/auth"
	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
)

func TestAPluginGetsOnlyTheVariablesThatWereNamed(t *testing.T) {
	t.Setenv("GOOD_ONE", "1")
	t.Setenv("GOOD_TWO", "2")
	t.Setenv("NAMED", "3")
	t.Setenv("MY_SECRET", "hush4711")
	p := part(t, "good")
	p.Env = []string{"GOOD_*", "NAMED"}
	a := open(t, launch(t, p), Instance{Name: "a"})
	env := strings.Split(value(t, a, "environ"), ";")
	for _, kv := range []string{"GOOD_ONE=1", "GOOD_TWO=2", "NAMED=3"} {
		if !slices.Contains(env, kv) {
			t.Errorf("%s is missing", kv)
		}
	}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasPrefix(name, "GOOD_"), name == "NAMED", reservedEnv(name), name == "HOME", name == "TMPDIR", name == "GOMEMLIMIT", name == "GOGC":
		default:
			t.Errorf("the plugin has %s=%s", name, value)
		}
	}
}

func TestAPluginHasAHomeAndEachInstanceAStateFolder(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	p.StateDir = filepath.Join(t.TempDir(), "state")
	r := launch(t, p)
	a, b := open(t, r, Instance{Name: "a"}), open(t, r, Instance{Name: "../b"})
	if home := value(t, a, "home"); home != filepath.Join(p.StateDir, "home") {
		t.Errorf("the home is %q", home)
	}
	da, db := value(t, a, "state"), value(t, b, "state")
	if da == db {
		t.Error("two instances share a folder")
	}
	for _, dir := range []string{da, db} {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != 0o700 || filepath.Dir(dir) != filepath.Join(p.StateDir, "instances") {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
	}
}

func TestWhatAPluginPrintsReachesTheLogAndHarmsNobody(t *testing.T) {
	t.Parallel()
	log := &records{}
	p := part(t, "good")
	p.Logger, p.Limits.LogLines = slog.New(log), -1
	a := open(t, launch(t, p), Instance{Name: "a", Config: map[string]string{"greeting": "hi"}})
	for _, verb := range []string{"poison", "fd1", "print", "flood"} {
		value(t, a, verb)
	}
	want := func(msg string) (rec slog.Record) {
		eventually(t, "the log has "+msg, func() (ok bool) { rec, ok = log.find(msg); return ok })
		return rec
	}
	want("to stdout")
	want("to stderr")
	want(`{"@message":1}`)
	attrs := map[string]any{}
	rec := want("to slog")
	rec.Attrs(func(a slog.Attr) bool { attrs[a.Key] = a.Value.Any(); return true })
	if rec.Level != slog.LevelWarn || attrs["answer"] != int64(42) || attrs["who"] != "deep thought" {
		t.Errorf("level %v, attributes %v", rec.Level, attrs)
	}
	eventually(t, "the long line is there, cut", func() bool {
		_, ok := log.find(strings.Repeat("x", maxLine))
		return ok
	})
	if got := value(t, a, "pid"); got == "" {
		t.Error("it does not answer any more")
	}
}

// It counts although nothing is printed after it: a plugin that crashes says no more.
func TestAFloodIsCutAndCounted(t *testing.T) {
	t.Parallel()
	log := &records{}
	p := part(t, "good")
	p.Logger, p.Limits.LogLines = slog.New(log), 10
	r := launch(t, p)
	value(t, open(t, r, Instance{Name: "a"}), "flood")
	eventually(t, "the dropped lines are counted", func() bool {
		_, ok := log.find(linesDropped)
		return ok
	})
	value(t, open(t, r, Instance{Name: "b"}), "flood")
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	const all = 2 * (floodLines + 1) // and "opened", of each instance
	var taken, dropped int64
	for _, rec := range log.all() {
		switch rec.Message {
		case "plugin started": // says the host
		case linesDropped:
			rec.Attrs(func(a slog.Attr) bool {
				dropped += a.Value.Int64()
				return true
			})
		default:
			taken++
		}
	}
	if taken == 0 || dropped == 0 || taken+dropped != all {
		t.Errorf("%d lines were taken and %d dropped, of %d", taken, dropped, all)
	}
}

func TestAMessageMayBeLargeAndNotTooLarge(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a", Config: map[string]string{"greeting": strings.Repeat("g", 5<<20)}})
	if n := len(value(t, a, "big")); n != 5<<20 {
		t.Errorf("got %d bytes", n)
	}
	_, err := r.Auth(t.Context(), Instance{Name: "b", Config: map[string]string{"greeting": strings.Repeat("g", 17<<20)}})
	if err == nil || !strings.Contains(err.Error(), "Limits.MessageBytes") {
		t.Errorf("got %v", err)
	}
	small := part(t, "good")
	small.Limits.MessageBytes = 1 << 20
	b := open(t, launch(t, small), Instance{Name: "a"})
	if _, err := b.Credentials(t.Context(), request("big")); err == nil || !strings.Contains(err.Error(), "Limits.MessageBytes") {
		t.Errorf("got %v", err)
	}
}

func TestASignatureThatIsTooLargeFailsAlone(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	p.Limits.MessageBytes = 1 << 17
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	s, _ := auth.AsSigner(a)
	hr := auth.HTTPRequest{URL: "https://api.example/?" + strings.Repeat("q", 1<<17)}
	if _, err := s.Sign(t.Context(), request("x"), hr); err == nil || !strings.Contains(err.Error(), "Limits.MessageBytes") {
		t.Errorf("got %v", err)
	}
	hr.URL = "https://api.example/"
	if _, err := s.Sign(t.Context(), request("big"), hr); err == nil || !strings.Contains(err.Error(), "Limits.MessageBytes") {
		t.Errorf("an answer that is too large: %v", err)
	}
	if _, err := s.Sign(t.Context(), request("faults"), hr); err == nil || !strings.Contains(err.Error(), "ppp") {
		t.Errorf("a failure that is too large: %v", err)
	}
	refused := 0
	for n := range 40 { // up to the limit and beyond it
		hr.URL = "https://api.example/?" + strings.Repeat("q", 1<<17-400+10*n)
		_, err := s.Sign(t.Context(), request("x"), hr)
		if err != nil && strings.Contains(err.Error(), "Limits.MessageBytes") {
			refused++
		} else if err != nil || refused > 0 {
			t.Fatalf("a message %d bytes longer, after %d that were too large: %v", 10*n, refused, err)
		}
	}
	if refused == 0 || refused == 40 || r.Stats().Starts != 1 {
		t.Errorf("%d of 40 were too large, after %d starts", refused, r.Stats().Starts)
	}
}

func TestAPluginSetsOnlyTheHeadersThatItDeclared(t *testing.T) {
	t.Parallel()
	a := open(t, launch(t, part(t, "good")), Instance{Name: "a"})
	for name, ok := range map[string]bool{
		"Authorization": true, "x-good-one": true, "X-Other": false, "Host": false, "Content-Type": false,
		"Mcp-Session-Id": false, "Connection": false, "Transfer-Encoding": false, "X-Good-\r\nEvil": false,
	} {
		_, err := a.Credentials(t.Context(), request("header:"+name))
		if (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := a.Credentials(t.Context(), request("value:a\r\nb: c")); err == nil || strings.Contains(err.Error(), "b: c") {
		t.Errorf("a line break in a value: %v", err)
	}
	s, _ := auth.AsSigner(a)
	if _, err := s.Sign(t.Context(), request("query"), auth.HTTPRequest{URL: "https://api.example/"}); err == nil {
		t.Error("a query with a space was taken")
	}
	if _, err := s.Sign(t.Context(), request("x"), auth.HTTPRequest{URL: "https://evil.example/"}); err == nil {
		t.Error("a request to another origin was signed")
	}
}

func TestTheSubjectGoesOnlyToPluginsThatUseIt(t *testing.T) {
	t.Parallel()
	a := open(t, launch(t, part(t, "good")), Instance{Name: "a"})
	asked := 0
	req := request("subject")
	req.Identity.Subject = func(context.Context) (auth.Secret, error) { asked++; return auth.NewSecret("sub-4711"), nil }
	c, err := a.Credentials(t.Context(), req)
	if err != nil || c.Header.Get("Authorization") != "sub-4711" || asked != 1 {
		t.Errorf("%v, %v, asked %d times", c, err, asked)
	}
	other := open(t, launch(t, part(t, "nosubject")), Instance{Name: "a"})
	if _, err := other.Credentials(t.Context(), req); err == nil || asked != 1 {
		t.Errorf("a plugin that does not say that it uses it: %v, asked %d times", err, asked)
	}
	broken := errors.New("no session")
	req.Identity.Subject = func(context.Context) (auth.Secret, error) { return auth.Secret{}, broken }
	if _, err := a.Credentials(t.Context(), req); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestMutualTLSWorks(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	p.MutualTLS = true
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a", Config: map[string]string{"greeting": "hi"}})
	r.mu.Lock()
	proc := r.proc
	r.mu.Unlock()
	var who peer.Peer
	if _, err := proc.base.Health(t.Context(), &basev1.HealthRequest{}, grpc.Peer(&who)); err != nil {
		t.Fatal(err)
	}
	if info, ok := who.AuthInfo.(credentials.TLSInfo); !ok || len(info.State.PeerCertificates) != 1 {
		t.Errorf("the plugin shows %v instead of a certificate", who.AuthInfo)
	}
	if got := value(t, a, "exitonce"); got != "second" {
		t.Errorf("got %q", got)
	}
}

func TestAStartIsBoundedByItsContextAndItsLimit(t *testing.T) {
	t.Parallel()
	p := part(t, "mute")
	p.Limits.Start = 50 * time.Millisecond
	launch := func(ctx context.Context, p Plugin) error {
		return inTime(t, "the start ends", func() error {
			_, err := Launch(ctx, p)
			return err
		})
	}
	if err := launch(t.Context(), p); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a mute plugin: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := launch(ctx, part(t, "mute")); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled start: %v", err)
	}
}

func TestTheTraceContextReachesThePlugin(t *testing.T) {
	t.Parallel()
	const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	p := part(t, "good")
	ended := make(chan error, 1)
	p.Span = func(ctx context.Context, plugin, method string) (context.Context, string, func(error)) {
		if plugin != "good" || method != "Credentials" {
			return ctx, "", func(error) {}
		}
		return ctx, traceparent, func(err error) { ended <- err }
	}
	a := open(t, launch(t, p), Instance{Name: "a"})
	if got := value(t, a, "trace"); got != traceparent {
		t.Errorf("got %q", got)
	}
	if err := inTime(t, "the span ends", func() error { return <-ended }); err != nil {
		t.Errorf("the span ended with %v", err)
	}
}

func TestReplaceSwitchesWithoutLosingACall(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	a := open(t, r, Instance{Name: "a", Config: map[string]string{"greeting": "hi"}})
	dir, old := value(t, a, "state"), r.Stats().PID
	result := make(chan string, 1)
	go func() {
		c, err := a.Credentials(context.Background(), request("gate"))
		if err != nil {
			result <- err.Error()
			return
		}
		result <- c.Header.Get("Authorization")
	}()
	eventually(t, "the call is under way", func() bool { return exists(filepath.Join(dir, "waiting")) })
	replaced := make(chan error, 1)
	go func() { replaced <- r.Replace(context.Background(), part(t, "next")) }()
	eventually(t, "new calls go to the new process", func() bool { return r.Describe().Version == "2.0.0" })
	if got := value(t, a, "key"); got != "hi" {
		t.Errorf("the new process answers %q", got)
	}
	os.WriteFile(filepath.Join(dir, "open"), nil, 0o600)
	if got := <-result; got != "gone through" {
		t.Errorf("the call under way: %s", got)
	}
	if err := <-replaced; err != nil {
		t.Errorf("Replace: %v", err)
	}
	if alive(old) {
		t.Error("the old process is still there")
	}
}

func TestAFailedReplaceChangesNothing(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	a := open(t, r, Instance{Name: "a"})
	pid := value(t, a, "pid")
	bad := part(t, "good")
	bad.SHA256 = strings.Repeat("0", 64)
	for _, p := range []Plugin{bad, part(t, "exits"), part(t, "garbage")} {
		if err := r.Replace(t.Context(), p); err == nil {
			t.Errorf("%s was taken", p.Path)
		}
		if got := value(t, a, "pid"); got != pid {
			t.Errorf("process %s answers, not %s", got, pid)
		}
	}
}

func TestABinaryThatOthersCanWriteIsRefused(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	path := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(path, []byte("x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o720, 0o702} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		p.Path = path
		if _, err := Launch(t.Context(), p); err == nil || !strings.Contains(err.Error(), "can be written by others") {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	for mode, problem := range map[os.FileMode]string{0o703: "stands in a folder that everybody can write to", 0o703 | os.ModeSticky: "has the SHA-256"} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Launch(t.Context(), p); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("in a folder with mode %v: %v", mode, err)
		}
	}
	if os.Geteuid() != 0 {
		return // who is not root cannot give a file away
	}
	if err := os.Chown(path, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := Launch(t.Context(), p); err == nil || !strings.Contains(err.Error(), "belongs to another user (12345)") {
		t.Errorf("another user's: %v", err)
	}
}

func TestAPluginKeepsTheVariablesThatItWasLaunchedWith(t *testing.T) {
	t.Setenv("NAMED", "3")
	p := part(t, "good")
	r := launch(t, p)
	p.Env[0] = "NAMED" // the caller's own
	a := open(t, r, Instance{Name: "a"})
	if got := value(t, a, "exitonce"); got != "second" {
		t.Errorf("got %q", got)
	}
	if got := value(t, a, "env:NAMED"); got != "" {
		t.Errorf("started again, it has the variable with %q", got)
	}
}

func TestAConfigurationReportsEveryFault(t *testing.T) {
	t.Parallel()
	_, err := Launch(t.Context(), Plugin{
		Env: []string{"*", "AWS*", "MCPOOL_X"}, StateDir: "relative",
		Limits: Limits{Start: -1, Call: -time.Second, MessageBytes: -1, MemoryBytes: -2, RestartMin: time.Hour},
	})
	for _, field := range []string{
		"Path", "SHA256", "Env", "StateDir", "Limits.Start", "Limits.Call", "Limits.MessageBytes",
		"Limits.MemoryBytes", "Limits.RestartMin",
	} {
		if err == nil || !strings.Contains(err.Error(), "host: config: "+field+" ") {
			t.Errorf("%s is not named in %v", field, err)
		}
	}
}
