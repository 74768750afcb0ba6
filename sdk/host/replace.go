package host

import (
	"context"
	"errors"
	"fmt"
)

// Replace puts another build in the place of what runs. The new one is verified and
// started, and every instance is opened in it; only when all of that worked do calls
// go there. Then the old one drains and ends. If something fails, the old one keeps
// running as if nothing had happened. While both run they share the state folders.
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
	img, err := newImage(&next, r.run.path)
	if err != nil {
		return err
	}
	proc, err := startProcess(ctx, &next, img, r.run)
	if err != nil {
		img.close()
		return err
	}
	replayed, err := r.replay(ctx, proc)
	if err == nil && !proc.begin() {
		err = errors.New(proc.why())
	}
	refuse := func(err error) error {
		proc.destroy()
		img.close()
		return fmt.Errorf("host: plugin %s was not replaced, the old one keeps running: %w", r.name, err)
	}
	if err != nil {
		return refuse(err)
	}
	proc.end()
	if err := r.settle(ctx, proc, replayed); err != nil {
		r.mu.Unlock()
		return refuse(err)
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
		err = oldProc.stop(ctx)
	}
	oldImage.close()
	if err != nil {
		return fmt.Errorf("host: plugin %s was replaced, but of the old one %w", r.name, err)
	}
	return nil
}
