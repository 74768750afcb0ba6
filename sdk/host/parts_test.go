//go:build unix

package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"github.com/go-mcpool/mcpool/sdk"
	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// floodLines is how many lines a flood has.
const floodLines = 20_000

// play plays the part that the program's name names, and reports whether there is one.
func play(name string) bool {
	switch filepath.Base(name) {
	case "good":
		sdk.Main(sdk.Info{Name: "good", Version: "1.0.0", Environment: []string{"GOOD_*"}},
			sdk.Auth(newGood, sdk.Headers("Authorization", "X-Good-*"), sdk.UsesSubject()))
	case "ender":
		sdk.Main(sdk.Info{Name: "ender"}, sdk.Auth(newEnder, sdk.UsesSubject()))
	case "stays": // it knows of no lifeline
		os.Unsetenv(wire.EnvLifeline)
		sdk.Main(sdk.Info{Name: "stays"}, sdk.Auth(newGood))
	case "deaf":
		deafOnce()
		sdk.Main(sdk.Info{Name: "deaf"}, sdk.Auth(newGood, sdk.UsesSubject()))
	case "slow":
		sdk.Main(sdk.Info{Name: "slow"}, sdk.Auth(newSlow))
	case "future": // a kind, and a major of a known one, that nobody speaks yet
		serveBare(&future{})
	case "lavish":
		serveBare(&lavish{})
	case "stubborn":
		serveBare(&stubborn{})
	case "crashes": // the first time it is good
		mark := filepath.Join(os.Getenv("CRASH_DIR"), "mark")
		if _, err := os.Stat(mark); err == nil {
			fmt.Fprintln(os.Stderr, "not again")
			os.Exit(4)
		}
		os.WriteFile(mark, nil, 0o600)
		sdk.Main(sdk.Info{Name: "crashes"}, sdk.Auth(newGood))
	case "waits": // the second time it waits before it says anything
		dir := os.Getenv("CRASH_DIR")
		if exists(filepath.Join(dir, "mark")) {
			os.WriteFile(filepath.Join(dir, "new"), fmt.Append(nil, os.Getpid()), 0o600)
			os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "second"))
			for !exists(filepath.Join(dir, "go")) {
				time.Sleep(5 * time.Millisecond)
			}
		}
		os.WriteFile(filepath.Join(dir, "mark"), nil, 0o600)
		sdk.Main(sdk.Info{Name: "waits", Version: "1.0.0"}, sdk.Auth(newGood))
	case "carrier":
		sdk.Main(sdk.Info{Name: "carrier", Version: "1.0.0"}, sdk.Transport(newCarrier, sdk.DialsWithSubject()))
	case "carrier2":
		sdk.Main(sdk.Info{Name: "carrier", Version: "2.0.0"}, sdk.Transport(newCarrier))
	case "looker":
		sdk.Main(sdk.Info{Name: "looker"}, sdk.Probe(newLooker), sdk.Metrics(newDrain))
	case "nosubject":
		sdk.Main(sdk.Info{Name: "nosubject"}, sdk.Auth(newGood))
	case "next":
		sdk.Main(sdk.Info{Name: "good", Version: "2.0.0"}, sdk.Auth(newGood, sdk.UsesSubject()))
	case "host":
		playHost()
	case "garbage":
		fmt.Println("hello, world")
		time.Sleep(time.Hour)
	case "exits":
		fmt.Fprint(os.Stderr, "no such database\nlast words")
		os.Exit(3)
	case "mute":
		time.Sleep(time.Hour)
	case "observer":
		sdk.Main(sdk.Info{Name: "observer"}, sdk.Auth(newWatchful))
	case "elsewhere":
		fmt.Println("1|1|unix|/tmp/elsewhere|grpc|")
		time.Sleep(time.Hour)
	case "endless": // as long as the lines are that go-plugin can no longer read
		fmt.Printf("%-65536s\n", "1|1|unix|/tmp/x|grpc|")
		time.Sleep(time.Hour)
	case "silent":
		beDeaf()
	case "oldcore":
		fmt.Println("1|99|unix|/tmp/x|grpc|")
		time.Sleep(time.Hour)
	default:
		return false
	}
	return true
}

// beDeaf takes a connection, says nothing on it, and has somebody hold it who has left the
// group.
func beDeaf() {
	path := filepath.Join(os.Getenv(wire.SocketDirEnv), "deaf")
	l, err := net.Listen("unix", path)
	if err != nil {
		panic(err)
	}
	fmt.Printf("1|1|unix|%s|grpc|\n", path)
	conn, err := l.Accept()
	if err != nil {
		panic(err)
	}
	file, err := conn.(*net.UnixConn).File()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command("/bin/sleep", "3600")
	cmd.ExtraFiles, cmd.SysProcAttr = []*os.File{file}, &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	dir := os.Getenv("CRASH_DIR")
	os.WriteFile(filepath.Join(dir, "new"), fmt.Append(nil, cmd.Process.Pid), 0o600)
	os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "keeper"))
	time.Sleep(time.Hour)
}

// serveBare is what a plugin does that knows go-plugin and not the SDK.
func serveBare(p plugin.Plugin) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: wire.ProtoVersion, MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue,
		},
		Plugins:    plugin.PluginSet{wire.PluginName: p},
		GRPCServer: plugin.DefaultGRPCServer, Logger: hclog.NewNullLogger(),
	})
}

// goodConfig configures what an instance of "good" does.
type goodConfig struct {
	Greeting string      `json:"greeting"`
	Key      auth.Secret `json:"key"`
	Refuse   string      `json:"refuse"`
}

// good is a provider that does what the identity's name says.
type good struct {
	cfg goodConfig
	in  sdk.Instance
}

func newGood(ctx context.Context, cfg goodConfig) (*good, error) {
	in, ok := sdk.InstanceOf(ctx)
	if !ok {
		return nil, errors.New("no instance")
	}
	if cfg.Refuse != "" {
		return nil, errors.Join(
			&auth.ConfigError{Field: "refuse", Problem: "says " + cfg.Refuse}, &auth.ConfigError{Field: "key", Problem: "is no good"})
	}
	in.Logger.Info("opened", "n", 7)
	return &good{cfg: cfg, in: in}, nil
}

func (g *good) Credentials(ctx context.Context, req auth.Request) (auth.Credentials, error) {
	verb, arg, _ := strings.Cut(req.Identity.ID, ":")
	value := ""
	switch verb {
	case "key":
		value = strings.TrimSpace(g.cfg.Greeting + " " + g.cfg.Key.Reveal())
	case "pid":
		value = fmt.Sprint(os.Getpid())
	case "env":
		value = os.Getenv(arg)
	case "state":
		value = g.in.StateDir
	case "subject":
		s, err := req.Identity.Subject(ctx)
		if err != nil {
			return auth.Credentials{}, err
		}
		value = s.Reveal()
	case "panic":
		panic("the secret is hush4711")
	case "nilmap":
		sameMap(nil)["x"] = 1
	case "rejected":
		return auth.Credentials{}, fmt.Errorf("token endpoint: %w", auth.ErrCredentialsRejected)
	case "throttled":
		return auth.Credentials{}, &auth.ThrottledError{RetryAfter: 7 * time.Second}
	case "login":
		return auth.Credentials{}, auth.ErrInteractionRequired
	case "hang":
		slog.Info("hanging")
		<-ctx.Done()
		return auth.Credentials{}, ctx.Err()
	case "exit":
		os.Exit(7)
	case "crash": // where nothing recovers it
		go func() { sameMap(nil)["x"] = 1 }()
		select {}
	case "segv":
		syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		select {}
	case "exitonce": // the first process dies of it, the second answers
		mark := filepath.Join(g.in.StateDir, "mark")
		if _, err := os.Stat(mark); err != nil {
			os.WriteFile(mark, nil, 0o600)
			os.Exit(7)
		}
		value = "second"
	case "print":
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
		slog.Warn("to slog", "answer", 42, "who", "deep thought")
	case "header":
		return auth.Credentials{Header: http.Header{arg: {"v"}}}, nil
	case "value":
		return auth.Credentials{Header: http.Header{"Authorization": {arg}}}, nil
	case "fd1": // behind go-plugin's back
		line := bytes.Repeat([]byte("x"), 1<<20)
		syscall.Write(1, line)
	case "flood":
		line := append(bytes.Repeat([]byte("y"), 1000), '\n')
		for range floodLines {
			syscall.Write(2, line)
		}
	case "poison":
		for _, line := range poison {
			syscall.Write(2, []byte(line+"\n"))
			syscall.Write(1, []byte(line+"\n"))
		}
	case "alloc":
		for range 24 { // touched, so that it is resident
			ballast = append(ballast, bytes.Repeat([]byte{1}, 8<<20))
		}
	case "spawn":
		cmd := exec.Command("/bin/sleep", "3600")
		if err := cmd.Start(); err != nil {
			return auth.Credentials{}, err
		}
		value = fmt.Sprint(cmd.Process.Pid)
	case "daemon": // has left the group, and holds our output
		fd, err := syscall.Dup(1)
		if err != nil {
			return auth.Credentials{}, err
		}
		stdout := os.NewFile(uintptr(fd), "stdout")
		defer stdout.Close()
		cmd := exec.Command("/bin/sleep", "3600")
		cmd.Stdout, cmd.SysProcAttr = stdout, &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return auth.Credentials{}, err
		}
		value = fmt.Sprint(cmd.Process.Pid)
	case "keeper": // has left the group, and holds our sockets
		cmd := exec.Command("/bin/sleep", "3600")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		fds, _ := filepath.Glob("/proc/self/fd/*")
		for _, path := range fds {
			if what, _ := os.Readlink(path); strings.HasPrefix(what, "socket:") {
				fd, _ := strconv.Atoi(filepath.Base(path))
				if copied, err := syscall.Dup(fd); err == nil {
					file := os.NewFile(uintptr(copied), what)
					defer file.Close()
					cmd.ExtraFiles = append(cmd.ExtraFiles, file)
				}
			}
		}
		if err := cmd.Start(); err != nil {
			return auth.Credentials{}, err
		}
		value = fmt.Sprint(cmd.Process.Pid)
	case "stdin":
		value, _ = os.Readlink("/proc/self/fd/0")
	case "limit":
		value = fmt.Sprint(debug.SetMemoryLimit(-1))
	case "folder":
		value, _ = os.Getwd()
	case "home":
		home, err := os.UserHomeDir()
		conf, err2 := os.UserConfigDir()
		if err := errors.Join(err, err2, os.MkdirAll(conf, 0o700)); err != nil {
			return auth.Credentials{}, err
		}
		value = home
	case "environ":
		value = strings.Join(os.Environ(), ";")
	case "big":
		value = strings.Repeat("b", 5<<20)
	case "meet": // waits until two are here, or the context ends
		select {
		case rendezvous <- struct{}{}:
		case <-rendezvous:
		case <-ctx.Done():
			return auth.Credentials{}, ctx.Err()
		}
	case "gate": // waits until a file appears
		os.WriteFile(filepath.Join(g.in.StateDir, "waiting"), nil, 0o600)
		for {
			if _, err := os.Stat(filepath.Join(g.in.StateDir, "open")); err == nil {
				break
			}
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
				return auth.Credentials{}, ctx.Err()
			}
		}
		value = "gone through"
	case "processors":
		value = fmt.Sprint(runtime.GOMAXPROCS(0))
	case "trace":
		value = sdk.Traceparent(ctx)
	case "letgo":
		value = fmt.Sprint(letGo.Load())
	}
	return auth.Credentials{
		Header: http.Header{"Authorization": {value}}, Generation: "g1",
		Expires: time.Unix(2000000000, 0), RefreshAfter: time.Unix(1900000000, 0),
	}, nil
}

var (
	ballast    [][]byte
	rendezvous = make(chan struct{})
	letGo      atomic.Int64 // signatures that were cancelled
)

// poison is what a log line must never be taken for.
var poison = []string{
	`{"@message":1}`, `{"@level":"info","@message":{}}`, `{"level":1,"msg":[]}`, `{"level":"INFO"}`, `{`, `null`, `[]`, `""`,
	`{"level":"INFO","msg":"ok","time":{"a":[1e999]}}`, "\x1b[2J", "\xff\xfe", `{"level":"INFO","msg":"m","":1}`,
}

func (g *good) Challenge(_ context.Context, _ auth.Request, ch auth.Challenge) (auth.Outcome, error) {
	switch ch.Status {
	case http.StatusForbidden:
		return auth.NeedsLogin, nil
	case http.StatusProxyAuthRequired:
		return auth.Retry, fmt.Errorf("somebody has to log in: %w", auth.ErrInteractionRequired)
	}
	if string(ch.Body) != "body" || ch.Generation != "g1" || ch.Header.Get("WWW-Authenticate") != "Bearer" {
		return auth.GiveUp, fmt.Errorf("not what was sent: %v", ch)
	}
	return auth.Retry, nil
}

func (g *good) Sign(ctx context.Context, req auth.Request, hr auth.HTTPRequest) (auth.Signature, error) {
	switch req.Identity.ID {
	case "panic":
		panic("hush4711")
	case "hang":
		<-ctx.Done()
		if errors.Is(ctx.Err(), context.Canceled) {
			letGo.Add(1)
		}
		return auth.Signature{}, ctx.Err()
	case "throttled":
		return auth.Signature{}, &auth.ThrottledError{RetryAfter: time.Second}
	case "query":
		return auth.Signature{RawQuery: "a=b c"}, nil
	case "bytes":
		return auth.Signature{RawQuery: "a=\xff"}, nil
	case "big":
		return auth.Signature{RawQuery: strings.Repeat("q", 1<<20)}, nil
	case "faults":
		var errs []error
		for range 64 {
			errs = append(errs, &auth.ConfigError{Field: "f", Problem: strings.Repeat("p", 4<<10)})
		}
		return auth.Signature{}, errors.Join(errs...)
	}
	return auth.Signature{
		Header:   http.Header{"Authorization": {fmt.Sprintf("sig %s %s %x", hr.Method, hr.URL, hr.BodySHA256[:2])}},
		RawQuery: "signed=1", Generation: "k1",
	}, nil
}

func (g *good) Login(ctx context.Context, req auth.Request, d auth.Dialog) error {
	redirect, err := d.RedirectURL(ctx)
	if err != nil {
		return err
	}
	if err := d.Show(ctx, auth.Prompt{URL: "https://login.example/?back=" + redirect, UserCode: "AB-CD"}); err != nil {
		return err
	}
	if req.Identity.ID == "impatient" { // gives up one question, and asks another
		soon, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		_, err := d.Callback(soon, "state-0")
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("nobody came, and the answer was %w", err)
		}
		_, err = d.RedirectURL(ctx)
		return err
	}
	query, err := d.Callback(ctx, "state-1")
	if err != nil {
		os.WriteFile(filepath.Join(g.in.StateDir, "login-ended"), nil, 0o600)
		return err
	}
	if query.Reveal() != "code=4711&state=state-1" {
		return fmt.Errorf("got %d bytes: %w", len(query.Reveal()), auth.ErrCredentialsRejected)
	}
	return nil
}

func (g *good) Close(context.Context) error { return nil }

// watchful shows in its credentials what it observed last.
type watchful struct {
	*good

	mu   sync.Mutex
	last string
}

func newWatchful(ctx context.Context, cfg goodConfig) (*watchful, error) {
	g, err := newGood(ctx, cfg)
	return &watchful{good: g}, err
}

func (*watchful) ObservedHeaders() []string { return []string{"X-One", "X-Two"} }

func (w *watchful) Observe(req auth.Request, o auth.Observation) {
	if o.Status == http.StatusTeapot {
		panic("hush4711")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = fmt.Sprint(req.Identity.ID, " ", o.URL, " ", o.Status, " ", o.Header)
}

func (w *watchful) Credentials(ctx context.Context, req auth.Request) (auth.Credentials, error) {
	if req.Identity.ID != "observed" {
		return w.good.Credentials(ctx, req)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return auth.Credentials{Header: http.Header{"Authorization": {w.last}}}, nil
}

// sameMap returns m, which is nil: writing to it panics, and no tool sees it.
func sameMap(m map[string]int) map[string]int { return m }
