package sdk

import (
	"context"

	"google.golang.org/grpc"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// Kind is a contract that the plugin fulfils. Functions such as [Auth] make one.
type Kind struct{ impl kind }

// kind is what the base service needs of every kind. To add one, write a file
// beside auth.go with a constructor that returns a Kind.
type kind interface {
	name() string
	describe() (wire.KindDescription, error)
	// validate checks a configuration without opening anything.
	validate(ctx context.Context, config []byte, secrets map[string][]byte) error
	// open makes an instance. It may block until ctx ends.
	open(ctx context.Context, config []byte, secrets map[string][]byte) (opened, error)
	// register adds the kind's service, whose methods find their instances in set.
	register(srv *grpc.Server, set *instances)
}

// opened is an instance of some kind.
type opened struct {
	value        any
	capabilities []string
	observed     []string // response headers, where the kind has such
	close        func(context.Context) error
}
