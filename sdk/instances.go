package sdk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// instances is what the plugin has open.
type instances struct {
	mu     sync.Mutex
	byName map[string]*entry // guarded by mu
	closed bool              // guarded by mu

	busy sync.WaitGroup // openings and closings; added to under mu
}

// entry is one instance, from the moment its opening begins.
type entry struct {
	kind   string
	digest [sha256.Size]byte // of what it was opened with
	ready  chan struct{}     // closed, under instances.mu, when opened and err stand
	opened opened
	err    error
	gaveUp bool // err may be that only because who opened it had no more time; stands with it

	ending chan struct{} // closed when the instance begins to close

	calls   int           // guarded by instances.mu
	closing bool          // guarded by instances.mu; it is not in byName any more, and no call begins
	idle    chan struct{} // guarded by instances.mu; closed at the last end after closing, if one is awaited
}

func newInstances() *instances { return &instances{byName: make(map[string]*entry)} }

// open makes an instance, once per name. Who asks for the same again gets the same, and
// begins again if it failed because who asked before had no more time.
func (s *instances) open(
	ctx context.Context, name, kindName string, digest [sha256.Size]byte, build func() (opened, error),
) (opened, error) {
	for {
		e, err := s.openOnce(ctx, name, kindName, digest, build)
		switch {
		case err != nil:
			return opened{}, err
		case e.gaveUp && ctx.Err() == nil:
			continue
		}
		return e.opened, e.err
	}
}

// openOnce returns what is open, or could not be opened. The error says that it was not
// tried.
func (s *instances) openOnce(
	ctx context.Context, name, kindName string, digest [sha256.Size]byte, build func() (opened, error),
) (*entry, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, fmt.Errorf("the plugin is shutting down: %w", auth.ErrClosed)
	}
	e, found := s.byName[name]
	if found {
		s.mu.Unlock()
		if e.kind != kindName || !bytes.Equal(e.digest[:], digest[:]) {
			return nil, fmt.Errorf("instance %q is open already, with another configuration", name)
		}
		select {
		case <-e.ready:
			return e, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for instance %q to open: %w", name, context.Cause(ctx))
		}
	}
	e = &entry{kind: kindName, digest: digest, ready: make(chan struct{}), ending: make(chan struct{}), err: errors.New("the factory did not return")}
	s.byName[name] = e
	s.busy.Add(1)
	s.mu.Unlock()

	defer s.busy.Done()
	defer func() { // also when the factory panics
		s.mu.Lock()
		orphan := e.closing
		e.gaveUp = e.err != nil && ctx.Err() != nil && !orphan
		if e.err != nil && s.byName[name] == e {
			delete(s.byName, name)
		}
		close(e.ready) // under the lock: who closes the instance leaves it to us until then
		s.mu.Unlock()
		if orphan && e.err == nil { // closed before it was open
			_ = e.opened.close(context.WithoutCancel(ctx))
		}
	}()
	e.opened, e.err = build()
	return e, nil
}

// begin finds an instance for one call and keeps it open until end is called.
func (s *instances) begin(name, kindName string) (value any, end func(), err error) {
	value, _, end, err = s.beginLong(name, kindName)
	return value, end, err
}

// beginLong is begin for a call that lasts as long as it likes: it has to end soon
// after the channel is closed, because the instance's close waits for it.
func (s *instances) beginLong(name, kindName string) (value any, ending <-chan struct{}, end func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.byName[name]
	if ok {
		select {
		case <-e.ready:
		default:
			ok = false
		}
	}
	if !ok || e.kind != kindName {
		return nil, nil, nil, fmt.Errorf("%w %q of the kind %s", wire.ErrNoInstance, name, kindName)
	}
	e.calls++
	return e.opened.value, e.ending, func() { s.end(e) }, nil
}

func (s *instances) end(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.calls--
	if e.calls == 0 && e.idle != nil {
		close(e.idle)
	}
}

// close waits for the calls of an instance and closes it.
func (s *instances) close(ctx context.Context, name string) error {
	s.mu.Lock()
	e, ok := s.byName[name]
	if !ok {
		s.mu.Unlock()
		return nil
	}
	s.busy.Add(1)
	defer s.busy.Done()
	delete(s.byName, name)
	e.closing = true
	close(e.ending)
	var idle chan struct{}
	if e.calls > 0 {
		idle = make(chan struct{})
		e.idle = idle
	}
	opening := false
	select {
	case <-e.ready:
	default:
		opening = true // open closes it
	}
	s.mu.Unlock()
	if opening {
		return nil
	}
	if idle != nil {
		select {
		case <-idle:
		case <-ctx.Done(): // its calls see it close under them, which is what the host chose
		}
	}
	return e.opened.close(ctx)
}

// closeAll closes everything at once and lets nothing be opened any more.
func (s *instances) closeAll(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	names := slices.Collect(maps.Keys(s.byName))
	s.mu.Unlock()
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			errs[i] = guard("Close", func() error { return s.close(ctx, name) })
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// settle waits, after closeAll, for what others had begun: an opening, or a closing.
func (s *instances) settle() { s.busy.Wait() }

// digestOf tells two configurations apart.
func digestOf(config []byte, secrets map[string][]byte) [sha256.Size]byte {
	h := sha256.New()
	add := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	add(config)
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		add([]byte(name))
		add(secrets[name])
	}
	return [sha256.Size]byte(h.Sum(nil))
}
