//go:build unix

package host

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/go-mcpool/mcpool/sdk/auth"
	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

// held is a target whose call waits for the test.
type held struct {
	resource

	called, free chan struct{}
}

func (h *held) Call(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
	select {
	case h.called <- struct{}{}:
	default:
		return json.RawMessage("2"), nil // the second call
	}
	select {
	case <-h.free:
		return json.RawMessage("1"), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A plugin of the SDK waits for its calls by itself. This one ends as soon as it is told.
func TestAPluginIsNotToldToEndBeforeItsCallsAreDone(t *testing.T) {
	t.Parallel()
	p := frozenV1(t)
	for name, end := range map[string]func(*Running) error{
		"Close":   func(r *Running) error { return r.Close(context.Background()) },
		"Replace": func(r *Running) error { return r.Replace(context.Background(), p) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := p
			p.Limits.Drain = time.Minute
			r := launch(t, p)
			look, err := r.Probe(t.Context(), Instance{Name: "p"})
			if err != nil {
				t.Fatal(err)
			}
			h := &held{called: make(chan struct{}, 1), free: make(chan struct{})}
			type outcome struct {
				probe.Verdict
				error
			}
			result, ended := make(chan outcome, 1), make(chan error, 1)
			pid := r.Stats().PID
			go func() {
				v, err := look.Probe(context.Background(), h)
				result <- outcome{v, err}
			}()
			eventually(t, "the call is under way", func() bool { return len(h.called) == 1 })
			go func() { ended <- end(r) }()
			eventually(t, "the end has begun", func() bool {
				_, err := look.Probe(t.Context(), &resource{id: "r"})
				return errors.Is(err, ErrClosed) || r.Stats().PID != pid
			})
			launch(t, part(t, "good")) // meanwhile a host that does not wait would have ended it
			close(h.free)
			if got := <-result; got.error != nil || !strings.HasPrefix(got.Reason, "1") {
				t.Errorf("the call under way: %v, %v", got.Verdict, got.error)
			}
			if err := <-ended; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

func TestACallThatOutlastsTheDrainIsCutShortAndSaidToBe(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	p.Limits.Drain = time.Millisecond
	log := &records{}
	p.Logger = slog.New(log)
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	result := make(chan error, 1)
	go func() {
		_, err := a.Credentials(context.Background(), request("hang"))
		result <- err
	}()
	eventually(t, "the call is under way", func() bool { _, ok := log.find("hanging"); return ok })
	if err := r.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "1 calls were cut short") {
		t.Errorf("Close: %v", err)
	}
	if err := <-result; err == nil {
		t.Error("a call that was cut short succeeded")
	}
}

// There are systems that send no signal when a parent dies. And a host that knows
// go-plugin alone ends a plugin with go-plugin's own call: that one is there, and keeps the
// folder.
func TestTheLifelineOrGoPluginAloneEndsAPlugin(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end    func(context.Context, *bare) error
		leaves bool // its folder to the host
	}{
		"lifeline": {end: func(_ context.Context, b *bare) error { return b.lifeline.Close() }},
		"go-plugin": {leaves: true, end: func(ctx context.Context, b *bare) error {
			return b.conn.Invoke(ctx, "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
		}},
		"Shutdown, then the lifeline": {leaves: true, end: func(ctx context.Context, b *bare) error {
			_, err := basev1.NewPluginServiceClient(b.conn).Shutdown(ctx, &basev1.ShutdownRequest{})
			return errors.Join(err, b.lifeline.Close())
		}},
		"the last Shutdown, then the lifeline": {end: func(ctx context.Context, b *bare) error {
			_, err := basev1.NewPluginServiceClient(b.conn).Shutdown(ctx, &basev1.ShutdownRequest{Last: true})
			return errors.Join(err, b.lifeline.Close())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, state := startBare(t, "slow"), t.TempDir()
			if _, err := basev1.NewPluginServiceClient(b.conn).Open(t.Context(), &basev1.OpenRequest{
				Kind: "auth", Major: 1, Instance: "a", Config: []byte(`{"greeting":"hi"}`), StateDir: state,
			}); err != nil {
				t.Error(err)
			}
			if !alive(b.cmd.Process.Pid) {
				t.Error("it ended before its host")
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if err := test.end(ctx, b); err != nil && status.Code(err) != codes.Unavailable { // it may end before it answers
				t.Error(err)
			}
			_, _ = io.Copy(io.Discard, b.out) // until it ends
			_ = b.cmd.Wait()
			status := map[bool]int{true: 1}[name == "go-plugin"] // nobody asked for that end
			if exists(b.dir) != test.leaves || b.cmd.ProcessState.ExitCode() != status {
				t.Errorf("its folder is left: %v; it ended with %v", exists(b.dir), b.cmd.ProcessState)
			}
			if bounded, err := os.ReadFile(filepath.Join(state, "closed-hi")); err != nil || string(bounded) != "true" {
				t.Errorf("its instance was not closed, or without a deadline: %s, %v", bounded, err)
			}
		})
	}
}

// bare is a plugin that no Launch has started.
type bare struct {
	cmd      *exec.Cmd
	out      *bufio.Reader
	lifeline *os.File
	dir      string
	conn     *grpc.ClientConn
}

func startBare(t *testing.T, name string) *bare {
	t.Helper()
	b := &bare{dir: filepath.Join(shortTemp(t), wire.RunDirPrefix+"run")}
	if err := os.MkdirAll(filepath.Join(b.dir, "s"), 0o700); err != nil {
		t.Fatal(err)
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	b.lifeline = ours
	b.cmd = exec.CommandContext(t.Context(), part(t, name).Path)
	b.cmd.Env = []string{
		wire.CookieKey + "=" + wire.CookieValue, "PLUGIN_PROTOCOL_VERSIONS=1", wire.SocketDirEnv + "=" + filepath.Join(b.dir, "s"),
		wire.EnvLifeline + "=3", wire.EnvRunDir + "=" + b.dir,
	}
	b.cmd.ExtraFiles, b.cmd.SysProcAttr = []*os.File{theirs}, &syscall.SysProcAttr{Setpgid: true}
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = b.cmd.Start()
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	b.out = bufio.NewReader(stdout)
	line, err := b.out.ReadString('\n')
	address, ok := strings.CutPrefix(line, "1|1|unix|")
	if err != nil || !ok {
		t.Fatalf("the handshake is %q, %v", line, err)
	}
	address, _, _ = strings.Cut(address, "|")
	b.conn, err = grpc.NewClient("unix:"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.conn.Close() })
	return b
}

func TestAnObservationReachesThePlugin(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "observer"))
	a := open(t, r, Instance{Name: "a"})
	o, ok := auth.AsObserver(a)
	if !ok {
		t.Fatal("the instance observes nothing")
	}
	if h := o.ObservedHeaders(); !slices.Equal(h, []string{"X-One", "X-Two"}) {
		t.Errorf("it observes %q", h)
	}
	pid := r.Stats().PID
	want := "me https://api.example/mcp 202 map[X-One:[a b]]"
	eventually(t, "the observation arrives", func() bool { // one may be dropped
		o.Observe(request("me"), auth.Observation{URL: "https://api.example/mcp", Status: http.StatusTeapot})
		o.Observe(request("me"), auth.Observation{URL: "https://api.example/mcp", Status: 202, Header: http.Header{"X-One": {"a", "b"}}})
		o.Observe(request("me"), auth.Observation{URL: "https://evil.example/", Status: 200})
		got := value(t, a, "observed")
		if got != "" && got != want {
			t.Fatalf("it observed %q, want %q", got, want)
		}
		return got == want
	})
	for n := range 3 * maxNotes { // each takes its place and gives it back
		want := fmt.Sprintf("%d https://api.example/mcp 202 map[]", n)
		eventually(t, "observation "+strconv.Itoa(n)+" arrives", func() bool {
			o.Observe(request("\xff"), auth.Observation{URL: "https://api.example/mcp", Status: 202}) // cannot cross
			o.Observe(request(strconv.Itoa(n)), auth.Observation{URL: "https://api.example/mcp", Status: 202})
			return value(t, a, "observed") == want
		})
	}
	if r.Stats().PID != pid {
		t.Error("a panic over an observation, or text that is not UTF-8, ended the plugin")
	}
	if _, ok := auth.AsObserver(open(t, launch(t, part(t, "good")), Instance{Name: "a"})); ok {
		t.Error("an instance that observes nothing says that it does")
	}
}

// What is observed comes from a server, which may send what it likes.
func TestAnObservationThatIsTooLargeIsDroppedAlone(t *testing.T) {
	t.Parallel()
	p := part(t, "observer")
	p.Limits.MessageBytes = 64 << 10
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	o, _ := auth.AsObserver(a)
	s, _ := auth.AsSigner(a)
	for _, size := range []int{64 << 10, 1 << 20} {
		o.Observe(request("me"), auth.Observation{
			URL: "https://api.example/mcp", Status: 200, Header: http.Header{"X-One": {strings.Repeat("x", size)}},
		})
		if _, err := s.Sign(t.Context(), request("me"), auth.HTTPRequest{Method: "GET", URL: "https://api.example/mcp"}); err != nil {
			t.Errorf("a signature after %d bytes: %v", size, err)
		}
	}
	if n := r.Stats().Starts; n != 1 {
		t.Errorf("the plugin was started %d times", n)
	}
}

// Replace may have changed the limits for the next one.
func TestAMessageFitsTheProcessThatItGoesTo(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	p.Limits.MessageBytes = 64 << 10
	r := launch(t, p)
	s, _ := auth.AsSigner(open(t, r, Instance{Name: "a"}))
	r.mu.Lock()
	next := *r.plugin
	next.Limits.MessageBytes = 1 << 20
	r.plugin = &next
	r.mu.Unlock()
	hr := auth.HTTPRequest{Method: "GET", URL: "https://api.example/mcp", Header: http.Header{"X": {strings.Repeat("x", 64<<10)}}}
	_, err := s.Sign(t.Context(), request("me"), hr)
	if err == nil || !strings.Contains(err.Error(), "larger than Limits.MessageBytes") || asError(err).Ran || r.Stats().Starts != 1 {
		t.Errorf("got %v, %d starts", err, r.Stats().Starts)
	}
}

// Whoever can write to the file does so after its bytes were looked at.
func TestBytesWrittenOverTheVerifiedOnesDoNotRun(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	bytes, err := os.ReadFile(p.Path)
	if err != nil {
		t.Fatal(err)
	}
	p.Path = filepath.Join(t.TempDir(), "good") // a file, not a link to this program
	if err := os.WriteFile(p.Path, bytes, 0o700); err != nil {
		t.Fatal(err)
	}
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	if err := os.WriteFile(p.Path, []byte("#!/bin/sh\necho stolen\n"), 0o700); err != nil { // the same inode
		t.Fatal(err)
	}
	if got := value(t, a, "exitonce"); got != "second" {
		t.Errorf("got %q", got)
	}
}

// The name of a socket may have some hundred characters.
func TestATemporaryFolderWithALongNameIsNoObstacle(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", long)
	a := open(t, launch(t, part(t, "good")), Instance{Name: "a"})
	if value(t, a, "pid") == "" {
		t.Error("it does not answer")
	}
}

func TestVariablesAreNamedExactlyOrByAPrefix(t *testing.T) {
	t.Parallel()
	env := []string{
		"AWS_REGION=r", "AWS_=", "AWS=no", "AWSX=no", "XAWS_Y=no", "HTTP_PROXY=p", "http_proxy=q", "NAME=a=b", "NAMED=no",
		"MCPOOL_LIFELINE=no", "PLUGIN_MIN_PORT=no", "=C:=no", "junk", "HTTPS_PROXY=s", "https_proxy=t", "NO_PROXY=u", "no_proxy=v",
		"SSL_CERT_FILE=f", "SSL_CERT_DIR=d",
	}
	patterns := slices.Concat(EnvAWS(), EnvProxy(), EnvTLS(), []string{"NAME", "MCPOOL_LIFELINE", "PLUGIN_MIN_PORT"})
	want := []string{
		"AWS_REGION=r", "AWS_=", "HTTP_PROXY=p", "http_proxy=q", "NAME=a=b", "HTTPS_PROXY=s", "https_proxy=t", "NO_PROXY=u", "no_proxy=v",
		"SSL_CERT_FILE=f", "SSL_CERT_DIR=d",
	}
	if got := pickEnv(env, patterns); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, name := range slices.Concat(EnvAWS(), EnvProxy(), EnvTLS(), []string{"A", "A_*"}) {
		if err := checkEnvName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "*", "A*", "A*_", "_*_*", "A=B", "A\x00", "MCPOOL_X", "MCPOOL_*", "PLUGIN_*"} {
		if checkEnvName(name) == nil {
			t.Errorf("%q was taken", name)
		}
	}
}

// Where there are no memory files.
func TestACopyCanBeExecutedWhateverElseIsStartedConcurrentSafe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				img, err := copyToFile(strings.NewReader("#!/bin/sh\nexit 7\n"), dir)
				if err != nil {
					t.Error(err)
					return
				}
				err = exec.CommandContext(t.Context(), img.path).Run()
				if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 7 {
					t.Errorf("the copy does not run: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// go-plugin lets a host take messages of 2 GiB.
func TestAPluginThatKnowsNoLimitOnMessagesIsHeldToOurs(t *testing.T) {
	t.Parallel()
	p := part(t, "lavish")
	p.Limits.MessageBytes, p.Limits.Shutdown = 1<<20, 10*time.Millisecond // it knows no Shutdown either
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	if _, err := a.Credentials(t.Context(), request("2000000")); err == nil || !strings.Contains(err.Error(), "Limits.MessageBytes") {
		t.Errorf("got %v", err)
	}
	if _, err := a.Credentials(t.Context(), request(strings.Repeat("0", 2<<20))); err == nil || !strings.Contains(err.Error(), "Limits.MessageBytes") {
		t.Errorf("the other way: %v", err)
	}
	if c, err := a.Credentials(t.Context(), request("1000")); len(c.Generation) != 1000 || err != nil || r.Stats().Starts != 1 {
		t.Errorf("the next call: %v after %d starts", err, r.Stats().Starts)
	}
}

// go-plugin's own calls, such as those of Kill, have no deadline.
func TestEveryCallOnAConnectionHasADeadline(t *testing.T) {
	t.Parallel()
	l := bufconn.Listen(1 << 10)
	mute := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		<-s.Context().Done()
		return s.Context().Err()
	}))
	served := make(chan error, 1)
	go func() { served <- mute.Serve(l) }()
	defer func() {
		mute.Stop()
		<-served
	}()
	options := append(dialOptions(&Limits{Call: 50 * time.Millisecond, MessageBytes: 1 << 20}, &connection{}),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	conn, err := grpc.NewClient("passthrough:///mute", options...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = inTime(t, "the call returns", func() error {
		_, err := basev1.NewPluginServiceClient(conn).Health(context.Background(), &basev1.HealthRequest{})
		return err
	})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
}
