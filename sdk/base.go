package sdk

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/go-mcpool/mcpool/sdk/auth"
	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// base is the service that every plugin has.
type base struct {
	basev1.UnimplementedPluginServiceServer

	description wire.Description
	kinds       []kind
	set         *instances
	shutdown    func(last bool) // tells the lifeline that its end is expected
}

func (b *base) Describe(context.Context, *basev1.DescribeRequest) (*basev1.DescribeResponse, error) {
	return wire.DescriptionTo(b.description), nil
}

func (b *base) Health(context.Context, *basev1.HealthRequest) (*basev1.HealthResponse, error) {
	return &basev1.HealthResponse{}, nil
}

func (b *base) Validate(ctx context.Context, req *basev1.ValidateRequest) (*basev1.ValidateResponse, error) {
	k, err := b.kind(req.GetKind(), req.GetMajor())
	if err != nil {
		return nil, err
	}
	if err := k.validate(ctx, req.GetConfig(), req.GetSecrets()); err != nil {
		return nil, err
	}
	return &basev1.ValidateResponse{}, nil
}

func (b *base) Open(ctx context.Context, req *basev1.OpenRequest) (*basev1.OpenResponse, error) {
	k, err := b.kind(req.GetKind(), req.GetMajor())
	if err != nil {
		return nil, err
	}
	if req.GetInstance() == "" {
		return nil, fmt.Errorf("the instance has no name: %w", auth.ErrUnsupported)
	}
	ctx = context.WithValue(ctx, instanceKey{}, Instance{
		Name: req.GetInstance(), StateDir: req.GetStateDir(),
		Logger: slog.Default().With("instance", req.GetInstance()),
	})
	digest := digestOf(req.GetConfig(), req.GetSecrets())
	o, err := b.set.open(ctx, req.GetInstance(), k.name(), digest, func() (opened, error) {
		return k.open(ctx, req.GetConfig(), req.GetSecrets())
	})
	if err != nil {
		return nil, err
	}
	return &basev1.OpenResponse{Capabilities: o.capabilities, ObservedHeaders: o.observed}, nil
}

func (b *base) CloseInstance(
	ctx context.Context, req *basev1.CloseInstanceRequest,
) (*basev1.CloseInstanceResponse, error) {
	if err := b.set.close(ctx, req.GetInstance()); err != nil {
		return nil, err
	}
	return &basev1.CloseInstanceResponse{}, nil
}

func (b *base) Shutdown(ctx context.Context, req *basev1.ShutdownRequest) (*basev1.ShutdownResponse, error) {
	b.shutdown(req.GetLast())
	if err := b.set.closeAll(ctx); err != nil {
		return nil, err
	}
	return &basev1.ShutdownResponse{}, nil
}

// kind finds the kind at a major that it speaks.
func (b *base) kind(name string, major uint32) (kind, error) {
	var have []string
	for i, k := range b.kinds {
		if k.name() != name {
			have = append(have, k.name())
			continue
		}
		if majors := b.description.Kinds[i].Majors; !slices.Contains(majors, major) {
			return nil, fmt.Errorf("major %d of the kind %s is not among those spoken here, %d: %w",
				major, name, majors, auth.ErrUnsupported)
		}
		return k, nil
	}
	return nil, fmt.Errorf("the plugin is of the kind %s, not %s: %w", strings.Join(have, ", "), name, auth.ErrUnsupported)
}

// Instance says what the host gave to an instance besides its configuration.
type Instance struct {
	// Name is the instance's in the host's configuration.
	Name string
	// StateDir is a folder that belongs to this instance alone. It outlives the
	// process; whether it outlives the host is for the host's operator to say.
	StateDir string
	// Logger logs with the instance's name.
	Logger *slog.Logger
}

type instanceKey struct{}

// InstanceOf returns what the host gave to the instance that is being opened; call it
// with the context that the factory is given. In a program which compiles the plugin
// in there is nothing, and it returns false.
func InstanceOf(ctx context.Context) (Instance, bool) {
	i, ok := ctx.Value(instanceKey{}).(Instance)
	return i, ok
}
