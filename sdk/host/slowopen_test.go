//go:build unix

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

// slow opens or closes, where it is told to, when a file is there, whatever its context
// says, and leaves a file when it is closed, which says whether that had a deadline.
type slow struct{ *good }

func newSlow(ctx context.Context, cfg goodConfig) (*slow, error) {
	in, ok := sdk.InstanceOf(ctx)
	if !ok {
		return nil, errors.New("no instance")
	}
	if cfg.Greeting == "slow" {
		os.WriteFile(filepath.Join(in.StateDir, "opening"), nil, 0o600)
		awaitFile(filepath.Join(in.StateDir, "go"))
	}
	g, err := newGood(ctx, cfg)
	return &slow{g}, err
}

func (s *slow) Close(ctx context.Context) error {
	if s.cfg.Greeting == "first" {
		awaitFile(filepath.Join(s.in.StateDir, "go"))
	}
	_, bounded := ctx.Deadline()
	return os.WriteFile(filepath.Join(s.in.StateDir, "closed-"+s.cfg.Greeting), fmt.Append(nil, bounded), 0o600)
}

func awaitFile(path string) {
	for !exists(path) {
		time.Sleep(5 * time.Millisecond)
	}
}

func TestAnOpeningThatIsGivenUpLeavesItsNameToAnother(t *testing.T) {
	t.Parallel()
	p := part(t, "slow")
	p.StateDir = filepath.Join(t.TempDir(), "state")
	r := launch(t, p)
	state := filepath.Join(p.StateDir, "instances", "i-a")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		_, err := r.Auth(ctx, Instance{Name: "a", Config: goodConfig{Greeting: "slow"}})
		failed <- err
	}()
	eventually(t, "the plugin opens it", func() bool { return exists(filepath.Join(state, "opening")) })
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if n := r.Stats().Instances; n != 0 {
		t.Errorf("%d instances", n)
	}
	a := open(t, r, Instance{Name: "a", Config: goodConfig{Greeting: "other"}})
	if got := value(t, a, "key"); got != "other" {
		t.Errorf("got %q", got)
	}
	if err := os.WriteFile(filepath.Join(state, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the one that was given up is closed", func() bool { return exists(filepath.Join(state, "closed-slow")) })
	if got := value(t, a, "key"); got != "other" || exists(filepath.Join(state, "closed-other")) {
		t.Errorf("the one that was opened since: %q", got)
	}
}

// An answer that comes when nobody waits for it any more leaves an instance open too.
func TestAnInstanceThatWasOpenedTooLateIsClosed(t *testing.T) {
	t.Parallel()
	p := part(t, "slow")
	p.StateDir = filepath.Join(t.TempDir(), "state")
	r := launch(t, p)
	in := &instance{
		name: "a", kind: "auth", config: []byte(`{"greeting":"first"}`),
		stateDir: filepath.Join(p.StateDir, "instances", "i-a"), capabilities: []string{"telepathy"},
	}
	if err := os.MkdirAll(in.stateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.add(t.Context(), in); !errors.Is(err, auth.ErrUnsupported) {
		t.Fatalf("got %v", err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Auth(soon, Instance{Name: "a"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("opened while the other closes: %v", err)
	}
	if err := os.WriteFile(filepath.Join(in.stateDir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := open(t, r, Instance{Name: "a", Config: goodConfig{Greeting: "other"}})
	if got := value(t, a, "key"); got != "other" || !exists(filepath.Join(in.stateDir, "closed-first")) {
		t.Errorf("got %q", got)
	}
}

func TestWhoWantsANameThatIsTakenBackWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	p := part(t, "slow")
	p.Limits.Drain, p.Limits.Shutdown = 10*time.Millisecond, 500*time.Millisecond
	r := launch(t, p)
	stop(t, r.Stats().PID)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Auth(ctx, Instance{Name: "a"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Auth(ctx, Instance{Name: "a"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAnInstanceWhoseCloseWasCutShortLeavesItsNameToAnother(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "slow"))
	a := open(t, r, Instance{Name: "a"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	a = open(t, r, Instance{Name: "a", Config: goodConfig{Greeting: "other"}})
	if got := value(t, a, "key"); got != "other" {
		t.Errorf("got %q", got)
	}
}

// The new process opens the old instance while the old process closes it.
func TestAnInstanceThatIsClosedDuringAReplaceAnswersForNoOtherOfItsName(t *testing.T) {
	t.Parallel()
	p := part(t, "slow")
	p.StateDir = filepath.Join(t.TempDir(), "state")
	r := launch(t, p)
	state := filepath.Join(p.StateDir, "instances", "i-a")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	pass := func() {
		t.Helper()
		if err := os.WriteFile(filepath.Join(state, "go"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pass()
	a := open(t, r, Instance{Name: "a", Config: goodConfig{Greeting: "slow"}})
	if err := errors.Join(os.Remove(filepath.Join(state, "go")), os.Remove(filepath.Join(state, "opening"))); err != nil {
		t.Fatal(err)
	}
	replaced := make(chan error, 1)
	go func() { replaced <- r.Replace(context.Background(), part(t, "slow")) }()
	eventually(t, "the new process opens it", func() bool { return exists(filepath.Join(state, "opening")) })
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
	a = open(t, r, Instance{Name: "a", Config: goodConfig{Greeting: "other"}})
	pass()
	if err := <-replaced; err != nil {
		t.Fatal(err)
	}
	if got := value(t, a, "key"); got != "other" {
		t.Errorf("got %q", got)
	}
}
