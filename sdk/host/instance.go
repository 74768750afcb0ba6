package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/config"
	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// Instance is one configured use of a plugin. A plugin has any number of them.
type Instance struct {
	// Name tells the instances of a plugin apart, of whatever kind they are: 1 to 100
	// bytes of any sort. Required.
	Name string
	// Config is the configuration, in the form that the plugin's schema describes: a
	// json.RawMessage, or a struct or map that package sdk/config encodes, such as the
	// Config of the library that the plugin is made of. Its secrets come in Secrets.
	// Nil is empty.
	Config any
	// Secrets are the values of the schema's secret fields, by their path.
	Secrets map[string]auth.Secret
}

const maxInstanceName = 100 // bytes

// instance is what has to be opened again in each process.
type instance struct {
	name     string
	kind     string
	config   []byte
	secrets  map[string][]byte
	stateDir string

	gone  chan struct{} // closed when its name is free; made, guarded by Running.mu, when it is not wanted any more
	holds int           // guarded by Running.mu; who opens or closes it in the plugin, and keeps its name for that long

	mu           sync.Mutex
	capabilities []string // immutable after the first opening
	observed     []string // the same
}

// prepare checks an Instance and makes its folder.
func (r *Running) prepare(in Instance, kind string) (*instance, error) {
	i := &instance{name: in.Name, kind: kind, secrets: make(map[string][]byte)}
	var errs []error
	if in.Name == "" || len(in.Name) > maxInstanceName {
		errs = append(errs, &ConfigError{Field: "Instance.Name", Problem: "must have 1 to 100 bytes"})
	}
	switch c := in.Config.(type) {
	case nil:
		i.config = []byte("{}")
	case json.RawMessage:
		i.config = slices.Clone(c)
	default:
		var err error
		if i.config, err = config.Encode(c); err != nil {
			for _, fault := range unjoin(err) {
				errs = append(errs, encodeFault(fault))
			}
		}
	}
	for path, s := range in.Secrets {
		i.secrets[path] = []byte(s.Reveal())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	// Close waits for whoever is counted before it removes the folders.
	r.mu.Lock()
	p, closed := r.plugin, r.closed
	if !closed {
		r.leaving.Add(1)
	}
	r.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("%w: plugin %s", ErrClosed, r.name)
	}
	defer r.leaving.Done()
	i.stateDir = filepath.Join(stateRoot(p, r.run), "instances", stateName(in.Name))
	if err := privateDir(i.stateDir); err != nil {
		return nil, fmt.Errorf("host: the state of instance %s: %w", in.Name, err)
	}
	return i, nil
}

// stateName is the folder of an instance, whose name may be longer when it is escaped
// than that of a file can be.
func stateName(instance string) string {
	const longest = 255
	if name := "i-" + url.PathEscape(instance); len(name) <= longest {
		return name
	}
	sum := sha256.Sum256([]byte(instance))
	return "h-" + hex.EncodeToString(sum[:])
}

// encodeFault says which field of Instance.Config cannot be sent, and what to do.
func encodeFault(err error) error {
	fe, ok := errors.AsType[*config.FieldError](err)
	switch {
	case !ok:
		return &ConfigError{Field: "Instance.Config", Problem: "cannot be used: " + err.Error() + "; JSON itself is a json.RawMessage"}
	case fe.Field == "":
		return &ConfigError{Field: "Instance.Config", Problem: fe.Problem}
	case fe.Secret:
		return &ConfigError{Field: "Instance.Config." + fe.Field, Problem: fmt.Sprintf(
			"is a secret: leave it out here, and give it in Instance.Secrets as %q", fe.Field)}
	}
	return &ConfigError{Field: "Instance.Config." + fe.Field, Problem: fe.Problem}
}

// add opens an instance and remembers it.
func (r *Running) add(ctx context.Context, i *instance) error {
	limits := r.limits()
	ctx, cancel := context.WithTimeout(ctx, limits.Start)
	defer cancel()
	if err := r.enter(ctx, i); err != nil {
		return err
	}
	unsure := false // the plugin may have it open, or will have
	err := r.call(ctx, "Open", "", func(ctx context.Context, p *process) error {
		err := i.open(ctx, p)
		_, refused := wire.FromStatus(err)
		unsure = p.majors[i.kind] != 0 && (!refused || ctx.Err() != nil)
		return err
	})
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		e.Instance = i.name
	}
	if unsure {
		r.takeBack(i, limits.Call)
	} else {
		r.mu.Lock()
		r.leaveLocked(i)
		r.mu.Unlock()
	}
	return err
}

// enter takes the instance's name, once it is free of one that is taken back.
func (r *Running) enter(ctx context.Context, i *instance) error {
	for {
		r.mu.Lock()
		old, taken := r.instances[i.name]
		switch {
		case r.closed:
			r.mu.Unlock()
			return fmt.Errorf("%w: plugin %s", ErrClosed, r.name)
		case !taken:
			r.instances[i.name] = i
			r.mu.Unlock()
			return nil
		case old.gone == nil:
			r.mu.Unlock()
			return &ConfigError{Field: "Instance.Name", Problem: fmt.Sprintf("= %q is open already", i.name)}
		}
		gone := old.gone
		r.mu.Unlock()
		if err := r.awaitGone(ctx, gone); err != nil {
			return r.say(err, "Open", i.name)
		}
	}
}

// awaitGone waits until an instance that is taken back is closed.
func (r *Running) awaitGone(ctx context.Context, gone chan struct{}) error {
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return &Error{Message: "what has this name is not closed yet", Causes: []error{ctx.Err()}}
	}
}

// takeBack closes an instance that is not wanted any more and may be open: the plugin
// would refuse another configuration under its name. Nobody waits but who wants the
// name, and no drain does: a process that ends takes the instance along. One that does
// not answer is told again, until it answers or ends: it may not have heard the last.
func (r *Running) takeBack(i *instance, within time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.instances[i.name] != i {
		return
	}
	i.holds++
	r.leaveLocked(i)
	r.leaving.Go(func() {
		for closed := false; !closed; {
			closed = r.tryClose(i, within)
		}
		r.letGo(i)
	})
}

// leaveLocked says that nobody wants the instance any more. Its name is free when nobody
// holds it.
//
// REQUIRES: r.mu.
func (r *Running) leaveLocked(i *instance) {
	if i.gone == nil {
		i.gone = make(chan struct{})
	}
	if i.holds == 0 {
		delete(r.instances, i.name)
		close(i.gone)
	}
}

// letGo ends a hold.
func (r *Running) letGo(i *instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i.holds--
	if i.gone != nil {
		r.leaveLocked(i)
	}
}

// tryClose reports whether no process has the instance any more, or will have.
func (r *Running) tryClose(i *instance, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	p, err := r.current(ctx)
	if err != nil {
		return true // what had it is gone, and what is started does not get it
	}
	p.end()
	if err = i.close(ctx, p); err == nil || errors.Is(err, errLost) {
		return true
	}
	select { // one that says at once that its time was over would be asked in a circle
	case <-ctx.Done():
	case <-p.condemned:
	}
	return false
}

// open opens the instance in a process.
func (i *instance) open(ctx context.Context, p *process) error {
	major, ok := p.majors[i.kind]
	if !ok {
		return &Error{
			Message: fmt.Sprintf("it does not speak the kind %s as this host does: %s", i.kind, offers(p.description)),
			Causes:  []error{auth.ErrUnsupported},
		}
	}
	m, err := p.base.Open(ctx, &basev1.OpenRequest{
		Instance: i.name, Kind: i.kind, Major: major, Config: i.config, Secrets: i.secrets, StateDir: i.stateDir,
	})
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	caps := slices.Sorted(slices.Values(m.GetCapabilities()))
	declared := p.kind(i.kind).Capabilities
	caps = slices.DeleteFunc(caps, func(c string) bool { return !slices.Contains(declared, c) })
	if i.capabilities == nil {
		i.capabilities = append([]string{}, caps...)
		i.observed = m.GetObservedHeaders()
	}
	for _, c := range i.capabilities {
		if !slices.Contains(caps, c) {
			return &Error{
				Message: fmt.Sprintf("instance %s had the capability %q and lost it", i.name, c),
				Causes:  []error{auth.ErrUnsupported},
			}
		}
	}
	return nil
}

// kind finds what the plugin says about a kind.
func (p *process) kind(name string) KindDescription {
	for _, k := range p.description.Kinds {
		if k.Name == name {
			return k
		}
	}
	return KindDescription{}
}

// replay opens every instance in a process that was started again, and returns them.
// One that cannot be opened now is tried again by its next call.
func (r *Running) replay(ctx context.Context, p *process) ([]*instance, error) {
	r.mu.Lock()
	all := r.keptLocked()
	r.mu.Unlock()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(ctx, p.plugin.Limits.Start)
	defer cancel()
	for n, i := range all {
		wg.Go(func() {
			if err := i.open(ctx, p); err != nil {
				errs[n] = fmt.Errorf("instance %s: %w", i.name, r.say(fromRPC(err), "Open", i.name))
				p.plugin.Logger.Warn("an instance could not be opened again", "instance", i.name, "error", errs[n])
			}
		})
	}
	wg.Wait()
	return all, errors.Join(errs...)
}

// settle locks r.mu at a moment when the process has none of the instances open that were
// closed elsewhere since replay began: calls for another instance under such a name would
// be answered with the old one's configuration. The error says that the process may have
// one, and is not to be used. It locks r.mu then too.
func (r *Running) settle(ctx context.Context, p *process, replayed []*instance) error {
	for {
		r.mu.Lock()
		stale := slices.DeleteFunc(slices.Clone(replayed), r.hasLocked)
		if len(stale) == 0 {
			return nil
		}
		r.mu.Unlock()
		for _, i := range stale {
			if err := i.close(ctx, p); err != nil {
				r.mu.Lock()
				return fmt.Errorf("instance %s, which was closed meanwhile: %w", i.name, r.say(err, "Close", i.name))
			}
			replayed = slices.DeleteFunc(replayed, func(o *instance) bool { return o == i })
		}
	}
}

// hasLocked reports whether the instance is wanted still.
//
// REQUIRES: r.mu.
func (r *Running) hasLocked(i *instance) bool { return r.instances[i.name] == i && i.gone == nil }

// close ends the instance in a process where it is not wanted. The error says that the
// process did not answer, and may have it open; an answer that it failed is the plugin's
// last word on it.
func (i *instance) close(ctx context.Context, p *process) error {
	_, err := p.base.CloseInstance(ctx, &basev1.CloseInstanceRequest{Instance: i.name}) // within Limits.Call at most
	if err == nil {
		return nil
	}
	e := fromRPC(err)
	p.plugin.Logger.Warn("an instance that was given up could not be closed", "instance", i.name, "error", e.Message)
	if overdue(ctx, e) || errors.Is(e, errLost) {
		return e
	}
	return nil
}

// overdue reports whether a call failed because its time was over. The plugin may notice
// that before the context does.
func overdue(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// keptLocked are the instances that are not being taken back.
//
// REQUIRES: r.mu.
func (r *Running) keptLocked() []*instance {
	return slices.DeleteFunc(slices.Collect(maps.Values(r.instances)), func(i *instance) bool { return i.gone != nil })
}

// reopen opens an instance that the plugin says it does not have.
func (r *Running) reopen(ctx context.Context, name string) error {
	p, err := r.current(ctx)
	if err != nil {
		return err
	}
	defer p.end()
	r.mu.Lock()
	i, ok := r.instances[name]
	if !ok || i.gone != nil {
		r.mu.Unlock()
		return errInstanceClosed()
	}
	i.holds++ // else another of its name could be opened, and be refused or closed for this one
	r.mu.Unlock()
	defer r.letGo(i)
	err = i.open(ctx, p)
	r.mu.Lock()
	wanted := r.hasLocked(i)
	r.mu.Unlock()
	_, refused := wire.FromStatus(err)
	switch {
	case !wanted: // closed meanwhile, perhaps before it was opened
		if !refused && (err != nil || i.close(ctx, p) != nil) {
			r.takeBack(i, p.plugin.Limits.Call)
		}
		return errInstanceClosed()
	case err != nil:
		return fromRPC(err)
	}
	return nil
}

func errInstanceClosed() error {
	return &Error{Message: "the instance is closed", Causes: []error{auth.ErrClosed}}
}

// closeInstance ends an instance, once: its name may be another's afterwards. Where there
// is no process there is none to end.
func (r *Running) closeInstance(ctx context.Context, i *instance) error {
	r.mu.Lock()
	limit, has, gone := r.plugin.Limits.Call, r.hasLocked(i), i.gone
	if has {
		i.holds++
		r.leaveLocked(i)
	}
	r.mu.Unlock()
	ctx, cancel := withDefaultDeadline(ctx, limit)
	defer cancel()
	switch {
	case gone != nil: // there was a Close before this one
		if err := r.awaitGone(ctx, gone); err != nil {
			return r.say(err, "Close", i.name)
		}
		return nil
	case !has:
		return nil
	}
	defer r.letGo(i)
	err := r.call(ctx, "Close", "", func(ctx context.Context, p *process) error {
		_, err := p.base.CloseInstance(ctx, &basev1.CloseInstanceRequest{Instance: i.name})
		return err
	})
	if err != nil && overdue(ctx, err) { // the plugin may never have heard of it
		r.takeBack(i, limit)
	}
	if _, down := errors.AsType[*DownError](err); down || errors.Is(err, ErrClosed) {
		return nil
	}
	return err
}

// limits are those of what runs now.
func (r *Running) limits() *Limits {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &r.plugin.Limits
}
