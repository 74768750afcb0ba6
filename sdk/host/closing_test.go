//go:build unix

package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
)

// stubborn is not made with the SDK, has room for one instance, and lets go of it only
// when it likes to.
type stubborn struct {
	lavish

	mu    sync.Mutex
	open  []byte // guarded by mu; the configuration
	asked int    // guarded by mu; how often it was asked to close it
}

// stubbornConfig says how an instance of stubborn behaves.
type stubbornConfig struct {
	Name   string `json:"name"`
	Wait   string `json:"wait"`   // it opens when this file is there, and leaves another while it waits
	Hang   int    `json:"hang"`   // so often a CloseInstance has no answer and no effect
	Refuse bool   `json:"refuse"` // each CloseInstance fails, and has no effect
	Hasty  bool   `json:"hasty"`  // each CloseInstance says at once that its time is over
	Boast  string `json:"boast"`  // a capability that it claims to have
}

func (s *stubborn) GRPCServer(_ *plugin.GRPCBroker, srv *grpc.Server) error {
	basev1.RegisterPluginServiceServer(srv, s)
	authv1.RegisterAuthServiceServer(srv, s)
	return nil
}

func (s *stubborn) Open(_ context.Context, req *basev1.OpenRequest) (*basev1.OpenResponse, error) {
	var cfg stubbornConfig
	if err := json.Unmarshal(req.GetConfig(), &cfg); err != nil {
		return nil, err
	}
	if cfg.Wait != "" && !exists(cfg.Wait) {
		os.WriteFile(cfg.Wait+".waiting", nil, 0o600)
		awaitFile(cfg.Wait)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != nil && !bytes.Equal(s.open, req.GetConfig()) {
		return nil, errors.New("it is open with another configuration")
	}
	s.open = req.GetConfig()
	return &basev1.OpenResponse{Capabilities: []string{cfg.Boast}}, nil
}

func (s *stubborn) CloseInstance(ctx context.Context, _ *basev1.CloseInstanceRequest) (*basev1.CloseInstanceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var cfg stubbornConfig
	if s.open == nil || json.Unmarshal(s.open, &cfg) != nil {
		return &basev1.CloseInstanceResponse{}, nil
	}
	s.asked++
	switch {
	case s.asked <= cfg.Hang:
		<-ctx.Done()
		return nil, ctx.Err()
	case cfg.Hasty:
		return nil, context.DeadlineExceeded
	case cfg.Refuse:
		return nil, errors.New("it likes to stay open")
	}
	s.open, s.asked = nil, 0
	return &basev1.CloseInstanceResponse{}, nil
}

// Credentials tell which instance is open.
func (s *stubborn) Credentials(context.Context, *authv1.CredentialsRequest) (*authv1.CredentialsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var cfg stubbornConfig
	if err := json.Unmarshal(s.open, &cfg); err != nil {
		return nil, err
	}
	return &authv1.CredentialsResponse{Generation: cfg.Name}, nil
}

func (s *stubborn) Shutdown(context.Context, *basev1.ShutdownRequest) (*basev1.ShutdownResponse, error) {
	return &basev1.ShutdownResponse{}, nil
}

// stubbornPart returns one whose calls end soon.
func stubbornPart(t *testing.T) (Plugin, *records) {
	t.Helper()
	log := &records{}
	p := part(t, "stubborn")
	p.Logger = slog.New(log)
	p.Limits.Call, p.Limits.Shutdown = 50*time.Millisecond, 50*time.Millisecond // it does not know what a lifeline is
	return p, log
}

// who asks which instance answers.
func who(t *testing.T, a auth.Provider) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := a.Credentials(ctx, request("x"))
	if err != nil {
		t.Fatal(err)
	}
	return c.Generation
}

const notClosed = "an instance that was given up could not be closed"

// Otherwise it would be open for as long as the process lives, and its name lost.
func TestAnInstanceIsClosedAgainUntilThePluginAnswers(t *testing.T) {
	t.Parallel()
	p, log := stubbornPart(t)
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a", Config: stubbornConfig{Name: "first", Hang: 3}})
	if err := a.Close(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Close: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := a.Close(ctx); err != nil { // waits until it is
		t.Errorf("a second Close: %v", err)
	}
	r.mu.Lock()
	left := len(r.instances)
	r.mu.Unlock()
	if left != 0 {
		t.Error("the name is not free after the second Close")
	}
	b := open(t, r, Instance{Name: "a", Config: stubbornConfig{Name: "second"}})
	if got := who(t, b); got != "second" {
		t.Errorf("%s answers", got)
	}
	rec, _ := log.find(notClosed)
	attrs := make(map[string]string)
	rec.Attrs(func(a slog.Attr) bool { attrs[a.Key] = a.Value.String(); return true })
	if rec.Level != slog.LevelWarn || attrs["instance"] != "a" || attrs["error"] != "the plugin did not answer in time" {
		t.Errorf("the log says %v %v of it", rec.Level, attrs)
	}
}

// It may say so because of something else that it waited for.
func TestAPluginThatHasNoTimeToCloseAnInstanceIsNotAskedInACircle(t *testing.T) {
	t.Parallel()
	p, log := stubbornPart(t)
	p.Limits.Call = time.Hour
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a", Config: stubbornConfig{Name: "first", Hasty: true}})
	if err := a.Close(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Close: %v", err)
	}
	said := func() (n int) {
		for _, rec := range log.all() {
			if rec.Message == notClosed {
				n++
			}
		}
		return n
	}
	eventually(t, "it is asked again", func() bool { return said() > 0 })
	for range 100 {
		who(t, a)
	}
	if n := said(); n != 1 {
		t.Errorf("it was asked %d times again", n)
	}
}

// There is no use in asking again, and the plugin itself says what else it takes.
func TestAPluginThatRefusesToCloseAnInstanceIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	p, log := stubbornPart(t)
	p.Limits.Call = time.Minute
	r := launch(t, p)
	cfg := stubbornConfig{Name: "first", Refuse: true}
	a := open(t, r, Instance{Name: "a", Config: cfg})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Close: %v", err)
	}
	a = open(t, r, Instance{Name: "a", Config: cfg})
	if got := who(t, a); got != "first" {
		t.Errorf("%s answers", got)
	}
	if err := a.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "it likes to stay open") {
		t.Errorf("Close: %v", err)
	}
	said := 0
	for _, rec := range log.all() {
		if rec.Message == notClosed {
			said++
		}
	}
	if said != 1 {
		t.Errorf("the log says so %d times", said)
	}
}

// Calls for the next instance of that name would be answered with its configuration.
func TestAProcessThatKeepsAnInstanceWhichWasClosedIsNotPutInPlace(t *testing.T) {
	t.Parallel()
	for name, replaces := range map[string]bool{"Replace": true, "a restart": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := stubbornPart(t)
			p.Limits.RestartMin, p.Limits.RestartMax, p.Limits.CircuitAfter = time.Millisecond, time.Millisecond, -1
			r := launch(t, p)
			pass := filepath.Join(t.TempDir(), "pass")
			writeFile(t, pass, "", 0o600)
			a := open(t, r, Instance{Name: "a", Config: stubbornConfig{Name: "first", Wait: pass, Hang: 1}})
			if err := os.Remove(pass); err != nil {
				t.Fatal(err)
			}
			pid, replaced := r.Stats().PID, make(chan error, 1)
			if replaces {
				next, _ := stubbornPart(t)
				go func() { replaced <- r.Replace(context.Background(), next) }()
			} else {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			eventually(t, "the next process opens it", func() bool { return exists(pass + ".waiting") })
			if err := a.Close(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Close: %v", err)
			}
			eventually(t, "its name is free", func() bool {
				r.mu.Lock()
				defer r.mu.Unlock()
				return len(r.instances) == 0
			})
			writeFile(t, pass, "", 0o600)
			if replaces {
				if err := <-replaced; err == nil || !strings.Contains(err.Error(), "was not replaced") || r.Stats().PID != pid {
					t.Errorf("Replace: %v", err)
				}
			}
			b := open(t, r, Instance{Name: "a", Config: stubbornConfig{Name: "second"}})
			if got := who(t, b); got != "second" {
				t.Errorf("%s answers", got)
			}
		})
	}
}

// The name may be another's by then.
func TestASecondCloseOfAnInstanceEndsNoOtherOfItsName(t *testing.T) {
	t.Parallel()
	p, _ := stubbornPart(t)
	p.Limits.Call = time.Minute
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a", Config: stubbornConfig{Name: "first"}})
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := open(t, r, Instance{Name: "a", Config: stubbornConfig{Name: "second", Refuse: true}})
	if err := a.Close(t.Context()); err != nil {
		t.Errorf("a second Close asks the plugin, which says: %v", err)
	}
	if got := who(t, b); got != "second" {
		t.Errorf("%s answers", got)
	}
	if n := r.Stats().Instances; n != 1 {
		t.Errorf("%d instances, want the other", n)
	}
}

// A Replace has no time that Close does not have.
func TestCloseEndsAReplaceThatIsUnderWay(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CRASH_DIR", dir)
	writeFile(t, filepath.Join(dir, "mark"), "", 0o600)
	r := launch(t, part(t, "good"))
	next := part(t, "waits")
	next.Env = []string{"CRASH_*"}
	next.Limits.Start = 1000 * time.Hour
	replaced := make(chan error, 1)
	go func() { replaced <- r.Replace(context.Background(), next) }()
	started := filepath.Join(dir, "second")
	eventually(t, "the new process is there", func() bool { return exists(started) })
	if err := inTime(t, "Close returns", func() error { return r.Close(t.Context()) }); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-replaced; !errors.Is(err, ErrClosed) {
		t.Errorf("Replace: %v", err)
	}
	text, err := os.ReadFile(started)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new process ends", func() bool { return !alive(pidOf(t, string(text))) })
}

func TestCloseHasNoMoreTimeThanItsContextDuringAReplace(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	p.Limits.Drain = 1000 * time.Hour
	r := launch(t, p)
	a := open(t, r, Instance{Name: "a"})
	dir, old := value(t, a, "state"), r.Stats().PID
	result := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		_, err := a.Credentials(ctx, request("gate"))
		result <- err
	}()
	eventually(t, "the call is under way", func() bool { return exists(filepath.Join(dir, "waiting")) })
	replaced := make(chan error, 1)
	go func() { replaced <- r.Replace(context.Background(), part(t, "next")) }()
	eventually(t, "new calls go to the new process", func() bool { return r.Describe().Version == "2.0.0" })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_ = inTime(t, "Close returns", func() error { return r.Close(ctx) })
	if alive(old) {
		t.Error("Close left the process that was replaced")
	}
	if err := <-replaced; err == nil || !strings.Contains(err.Error(), "1 calls were cut short") {
		t.Errorf("Replace: %v", err)
	}
	if err := <-result; err == nil {
		t.Error("the call that was cut short succeeded")
	}
}

func TestAProcessThatIsNoGoodAnyMoreOrComesTooLateIsNotPutInPlace(t *testing.T) {
	t.Parallel()
	for want, happens := range map[string]func(*Running, *process) error{
		"it is tired":  func(_ *Running, p *process) error { p.condemn("it is tired"); return nil },
		"host: closed": func(r *Running, _ *process) error { return r.Close(context.Background()) },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			r := launch(t, part(t, "good"))
			r.mu.Lock()
			p, img := r.plugin, r.image
			r.mu.Unlock()
			proc, err := startProcess(t.Context(), p, img, r.run)
			if err != nil {
				t.Fatal(err)
			}
			defer proc.destroy()
			if err := happens(r, proc); err != nil {
				t.Error(err)
			}
			if err := r.furnish(t.Context(), proc); err == nil || err.Error() != want {
				t.Errorf("got %v", err)
				r.mu.Unlock()
			}
		})
	}
}
