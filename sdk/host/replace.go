package host

import (
	"context"
	"errors"
	"fmt"
)

// Replace puts another build in the place of what runs. The new one is verified and
// started, and every instance is opened in it; only when all of that worked do calls
// go there. Then the old one drains and ends. If something fails, the old one keeps
// running as if nothing had happened. While both run they share the state folders. Close
// does not wait for a Replace that has not got so far, which fails with ErrClosed.
//
// Name and StateDir stay as Launch had them. ctx bounds the start of the new one and
// the end of the old.
func (r *Running) Replace(ctx context.Context, next Plugin) error {
	next.Name = r.name
	r.replacing.Lock()
	defer r.replacing.Unlock()
	r.mu.Lock()
	old, closed := r.plugin, r.closed
	r.mu.Unlock()
	if closed {
		return fmt.Errorf("%w: plugin %s", ErrClosed, r.name)
	}
	next.StateDir = old.StateDir
	next, err := next.withDefaults()
	if err != nil {
		return err
	}
	proc, img, err := r.startBeside(ctx, &next)
	if err != nil {
		return err
	}
	oldProc, oldImage := r.proc, r.image
	r.plugin, r.image, r.proc, r.down, r.failures = &next, img, proc, nil, 0
	r.description = proc.description
	r.starts++
	r.changeLocked()
	r.mu.Unlock()
	select {
	case r.kick <- struct{}{}:
	default:
	}
	next.Logger.Info("plugin replaced", "version", proc.description.Version, "pid", proc.child.number(), "sha256", img.digest)
	if oldProc != nil {
		ctx, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(r.time, cancel)
		err = oldProc.stop(ctx, false)
		stop()
		cancel()
	}
	oldImage.close()
	if err != nil {
		return fmt.Errorf("host: plugin %s was replaced, but of the old one %w", r.name, err)
	}
	return nil
}

// startBeside starts another build beside what runs, with every instance open in it, and
// locks r.mu at a moment when calls can go there. Close gives it up.
func (r *Running) startBeside(ctx context.Context, next *Plugin) (*process, *image, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.life, cancel)()
	img, err := newImage(next, r.run.path)
	if err != nil {
		return nil, nil, err
	}
	proc, err := startProcess(ctx, next, img, r.run)
	if err == nil {
		if err = r.furnish(ctx, proc); err == nil {
			return proc, img, nil
		}
		proc.destroy()
		err = fmt.Errorf("host: plugin %s was not replaced, the old one keeps running: %w", r.name, err)
	}
	img.close()
	if r.life.Err() != nil {
		err = fmt.Errorf("%w: plugin %s", ErrClosed, r.name)
	}
	return nil, nil, err
}

// furnish opens every instance in a process, and locks r.mu unless it fails.
func (r *Running) furnish(ctx context.Context, proc *process) error {
	replayed, err := r.replay(ctx, proc)
	if err != nil {
		return err
	}
	err = r.settle(ctx, proc, replayed)
	switch {
	case err != nil:
	case r.closed: // Close is about to end the old one, and knows of no other
		err = ErrClosed
	case proc.why() != "": // it is no good any more
		err = errors.New(proc.why())
	default:
		return nil
	}
	r.mu.Unlock()
	return err
}
