//go:build unix

package host

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
)

// future describes what this host does not speak, and reads no lifeline.
type future struct {
	plugin.NetRPCUnsupportedPlugin
	basev1.UnimplementedPluginServiceServer
}

func (f *future) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	basev1.RegisterPluginServiceServer(s, f)
	return nil
}

func (*future) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("not here")
}

func (*future) Describe(context.Context, *basev1.DescribeRequest) (*basev1.DescribeResponse, error) {
	return &basev1.DescribeResponse{Name: "future", Kinds: []*basev1.Kind{
		{Name: "auth", Majors: []uint32{7, 8}}, {Name: "telepathy", Majors: []uint32{1}},
	}}, nil
}

// lavish knows no limit on a message.
type lavish struct {
	future
	authv1.UnimplementedAuthServiceServer
}

func (l *lavish) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	basev1.RegisterPluginServiceServer(s, l)
	authv1.RegisterAuthServiceServer(s, l)
	return nil
}

func (*lavish) Describe(context.Context, *basev1.DescribeRequest) (*basev1.DescribeResponse, error) {
	return &basev1.DescribeResponse{Name: "lavish", Kinds: []*basev1.Kind{{Name: "auth", Majors: []uint32{1}}}}, nil
}

func (*lavish) Open(context.Context, *basev1.OpenRequest) (*basev1.OpenResponse, error) {
	return &basev1.OpenResponse{}, nil
}

func (*lavish) CloseInstance(context.Context, *basev1.CloseInstanceRequest) (*basev1.CloseInstanceResponse, error) {
	return &basev1.CloseInstanceResponse{}, nil
}

func (*lavish) Credentials(_ context.Context, req *authv1.CredentialsRequest) (*authv1.CredentialsResponse, error) {
	size, _ := strconv.Atoi(req.GetRequest().GetIdentity().GetId())
	return &authv1.CredentialsResponse{Generation: strings.Repeat("g", size)}, nil
}
