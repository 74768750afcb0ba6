package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// Description is what a plugin says about itself.
type Description = wire.Description

// KindDescription is one contract that a plugin fulfils.
type KindDescription = wire.KindDescription

// Running is a plugin that is kept running. Launch makes one.
type Running struct {
	// Immutable after creation.
	name  string
	run   *runDir
	life  context.Context // ends when Close begins
	end   context.CancelFunc
	time  context.Context // ends when Close has no more time
	hurry context.CancelFunc
	kick  chan struct{}  // one place; wakes the supervisor after a Replace
	tend  sync.WaitGroup // the supervisor

	leaving sync.WaitGroup // instances that are taken back, or get their folder; added to under mu while not closed

	replacing sync.Mutex // held by Replace and Close, taken before mu

	mu          sync.Mutex
	plugin      *Plugin              // guarded by mu; what runs, or is to run
	image       *image               // guarded by mu
	proc        *process             // guarded by mu; nil while there is none
	instances   map[string]*instance // guarded by mu
	changed     chan struct{}        // guarded by mu; closed when proc, down or closed change
	description Description          // guarded by mu; of the last process
	down        *DownError           // guarded by mu; set while calls are not to wait
	failures    int                  // guarded by mu; in a row
	failure     string               // guarded by mu; the last one, kept when it is over
	starts      int                  // guarded by mu
	closed      bool                 // guarded by mu
}

// Launch verifies the binary, starts it and asks what it is. ctx bounds the start
// alone. The error is a *LaunchError, or joins a *ConfigError per fault of p.
func Launch(ctx context.Context, p Plugin) (*Running, error) {
	p, err := p.withDefaults()
	if err != nil {
		return nil, err
	}
	run, err := newRunDir()
	if err != nil {
		return nil, err
	}
	r := &Running{
		name: p.Name, run: run, plugin: &p, kick: make(chan struct{}, 1),
		instances: make(map[string]*instance), changed: make(chan struct{}), starts: 1,
	}
	r.life, r.end = context.WithCancel(context.Background())
	r.time, r.hurry = context.WithCancel(context.Background())
	if r.image, err = newImage(&p, run.path); err == nil {
		if err = makeState(&p, run); err == nil {
			r.proc, err = startProcess(ctx, &p, r.image, run)
		}
	}
	if err != nil {
		if r.image != nil {
			r.image.close()
		}
		run.remove()
		return nil, err
	}
	r.description = r.proc.description
	p.Logger.Info("plugin started", "version", r.proc.description.Version, "pid", r.proc.child.number(),
		"sha256", r.image.digest)
	r.tend.Go(r.supervise)
	return r, nil
}

// Describe returns what the plugin said about itself when it was last started.
func (r *Running) Describe() Description {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.description
}

// Stats is a snapshot of a Running.
type Stats struct {
	// PID is the process's, 0 while there is none.
	PID int
	// Starts counts the processes that were started, Replace included.
	Starts int
	// Failures counts the failures in a row.
	Failures int
	// LastFailure says what the last failure was. It stays there when the plugin runs
	// again; empty before the first.
	LastFailure string
	// Instances counts what is open.
	Instances int
	// SHA256 is the digest of the binary that runs.
	SHA256 string
}

// Stats returns a snapshot.
func (r *Running) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{
		Starts: r.starts, Failures: r.failures, LastFailure: r.failure, Instances: len(r.keptLocked()), SHA256: r.image.digest,
	}
	if r.proc != nil {
		s.PID = r.proc.child.number()
	}
	return s
}

// Close waits for the calls under way, closes the instances, ends the process and
// removes what belonged to it. It takes as long as the limits allow, or until ctx
// ends; the process is ended in any case. The error says what was cut short. A Replace
// that is under way is given up, or ends what it replaced in the same time.
func (r *Running) Close(ctx context.Context) error {
	r.mu.Lock()
	again := r.closed
	if !again {
		r.closed = true
		r.end()
		r.changeLocked()
		defer r.hurry()
		defer context.AfterFunc(ctx, r.hurry)()
	}
	r.mu.Unlock()
	r.replacing.Lock()
	defer r.replacing.Unlock()
	if again {
		return nil
	}
	r.tend.Wait() // from here on nobody else touches proc

	r.mu.Lock()
	p, img := r.proc, r.image
	r.proc = nil
	r.mu.Unlock()
	var err error
	if p != nil {
		err = p.stop(ctx, true)
	}
	r.leaving.Wait() // what calls they make ended with the process
	img.close()
	r.run.remove()
	if err != nil {
		return fmt.Errorf("host: closing plugin %s: %w", r.name, err)
	}
	return nil
}

// changeLocked wakes everybody who waits for a change.
//
// REQUIRES: r.mu.
func (r *Running) changeLocked() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// current returns a living process with a call counted on it, waiting for a restart
// if need be. The caller calls the process's end.
func (r *Running) current(ctx context.Context) (*process, error) {
	for {
		r.mu.Lock()
		p, changed, down, closed := r.proc, r.changed, r.down, r.closed
		if !closed && p != nil && p.begin() {
			r.mu.Unlock()
			return p, nil
		}
		r.mu.Unlock()
		switch {
		case closed:
			return nil, fmt.Errorf("%w: plugin %s", ErrClosed, r.name)
		case p == nil && down != nil:
			return nil, down
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the plugin to be started again: %w", ctx.Err())
		}
	}
}

// stateHome is the plugin's home directory.
func stateHome(p *Plugin, run *runDir) string { return filepath.Join(stateRoot(p, run), "home") }

func stateRoot(p *Plugin, run *runDir) string {
	if p.StateDir != "" {
		return p.StateDir
	}
	return filepath.Join(run.path, "state")
}

// makeState makes the folders that the plugin may write to.
func makeState(p *Plugin, run *runDir) error {
	for _, dir := range []string{stateRoot(p, run), stateHome(p, run), filepath.Join(stateRoot(p, run), "instances")} {
		if err := privateDir(dir); err != nil {
			return &LaunchError{Path: p.Path, Reason: "has no place for its state", Remedy: "Check StateDir.", Err: err}
		}
	}
	return nil
}

// privateDir makes a folder that is nobody else's, or refuses one that is.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if problem := readableByOthers(info); problem != "" {
		return errors.New(dir + " " + problem)
	}
	return nil
}

// pause waits, and reports false if the Running was closed or kicked meanwhile.
func (r *Running) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.kick:
		return false
	case <-r.life.Done():
		return false
	}
}
