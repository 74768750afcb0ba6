package sdk

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// maker is what the kinds have in common: a function that makes a V of a
// configuration of the type C.
type maker[C, V any] struct {
	kind         string
	capabilities []string
	build        func(context.Context, C) (V, error)
	schema       []byte
	secrets      []string // the paths of secret fields
	err          error    // the author's mistake
}

// newMaker derives what is known beforehand. constructor is the name of the exported
// function that was called.
func newMaker[C, V any](kind, constructor string, build func(context.Context, C) (V, error)) maker[C, V] {
	f := maker[C, V]{kind: kind, build: build}
	f.schema, f.secrets, f.err = schemaOf[C]()
	if build == nil {
		f.err = fmt.Errorf("sdk: %s was given no factory", constructor)
	}
	return f
}

func (f *maker[C, V]) name() string { return f.kind }

func (f *maker[C, V]) describe() (wire.KindDescription, error) {
	return wire.KindDescription{
		Name: f.kind, Majors: []uint32{1}, Capabilities: f.capabilities, Config: f.schema,
	}, f.err
}

func (f *maker[C, V]) validate(_ context.Context, config []byte, secrets map[string][]byte) error {
	cfg, err := decode[C](config, secrets, f.secrets)
	if err != nil {
		return err
	}
	if v, ok := any(&cfg).(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

// open makes an instance. It is closed by its method Close if it has one.
func (f *maker[C, V]) open(ctx context.Context, config []byte, secrets map[string][]byte) (opened, error) {
	cfg, err := decode[C](config, secrets, f.secrets)
	if err != nil {
		return opened{}, err
	}
	v, err := f.build(ctx, cfg)
	if err != nil {
		return opened{}, err
	}
	if r := reflect.ValueOf(v); !r.IsValid() || r.Kind() == reflect.Pointer && r.IsNil() {
		return opened{}, fmt.Errorf("the factory returned neither a %s nor an error", f.kind)
	}
	o := opened{value: v, close: func(context.Context) error { return nil }}
	if c, ok := any(v).(interface {
		Close(ctx context.Context) error
	}); ok {
		o.close = c.Close
	}
	return o, nil
}

// valueOf finds an instance for one call, as the interface of its kind.
func valueOf[I any](set *instances, name, kind string) (value I, ending <-chan struct{}, end func(), err error) {
	v, ending, end, err := set.beginLong(name, kind)
	if err != nil {
		return value, nil, nil, err
	}
	value, ok := v.(I)
	if !ok {
		end()
		return value, nil, nil, fmt.Errorf("%w %q", wire.ErrNoInstance, name)
	}
	return value, ending, end, nil
}

var errFirstMessage = errors.New("the first message of the stream does not begin it")
