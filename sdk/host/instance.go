package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"sync"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/config"
	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
)

// Instance is one configured use of a plugin. A plugin has any number of them.
type Instance struct {
	// Name tells the instances of a plugin apart. Required.
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

	mu           sync.Mutex // held while it is opened; taken before Running.mu
	capabilities []string   // immutable after the first opening
	observed     []string   // the same
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
	r.mu.Lock()
	p := r.plugin
	r.mu.Unlock()
	i.stateDir = filepath.Join(stateRoot(p, r.run), "instances", "i-"+url.PathEscape(in.Name))
	if err := privateDir(i.stateDir); err != nil {
		return nil, fmt.Errorf("host: the state of instance %s: %w", in.Name, err)
	}
	return i, nil
}

// encodeFault says which field of Instance.Config cannot be sent, and what to do.
func encodeFault(err error) error {
	fe, ok := errors.AsType[*config.FieldError](err)
	switch {
	case !ok:
		return &ConfigError{Field: "Instance.Config", Problem: "cannot be used: " + err.Error()}
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
	r.mu.Lock()
	switch _, taken := r.instances[i.name]; {
	case r.closed:
		r.mu.Unlock()
		return fmt.Errorf("%w: plugin %s", ErrClosed, r.name)
	case taken:
		r.mu.Unlock()
		return &ConfigError{Field: "Instance.Name", Problem: fmt.Sprintf("= %q is open already", i.name)}
	}
	r.instances[i.name] = i
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, r.limits().Start)
	defer cancel()
	err := r.call(ctx, "Open", "", func(ctx context.Context, p *process) error { return i.open(ctx, p) })
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			e.Instance = i.name
		}
		r.forget(i.name)
	}
	return err
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

// replay opens every instance in a process that was started again. One that cannot be
// opened now is tried again by its next call.
func (r *Running) replay(ctx context.Context, p *process) error {
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.instances))
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
	return errors.Join(errs...)
}

// reopen opens an instance that the plugin says it does not have.
func (r *Running) reopen(ctx context.Context, name string) error {
	r.mu.Lock()
	i, ok := r.instances[name]
	r.mu.Unlock()
	if !ok {
		return &Error{Message: "the instance is closed", Causes: []error{auth.ErrClosed}}
	}
	p, err := r.current(ctx)
	if err != nil {
		return err
	}
	defer p.end()
	if err := i.open(ctx, p); err != nil {
		return fromRPC(err)
	}
	return nil
}

func (r *Running) forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.instances, name)
}

// closeInstance ends an instance. Where there is no process there is none to end.
func (r *Running) closeInstance(ctx context.Context, name string) error {
	r.forget(name)
	ctx, cancel := withDefaultDeadline(ctx, r.limits().Call)
	defer cancel()
	err := r.call(ctx, "Close", "", func(ctx context.Context, p *process) error {
		_, err := p.base.CloseInstance(ctx, &basev1.CloseInstanceRequest{Instance: name})
		return err
	})
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
