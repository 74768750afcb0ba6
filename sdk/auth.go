package sdk

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"google.golang.org/grpc"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// AuthOption says what the types of a factory do not.
type AuthOption func(*authOptions)

type authOptions struct {
	headers      []string
	capabilities []string
}

// Headers lists the headers that the plugin may set: names, "Prefix-*", or "*" for
// all that credentials may set. The host refuses others. Default: Authorization.
func Headers(names ...string) AuthOption {
	return func(o *authOptions) { o.headers = append(o.headers, names...) }
}

// UsesSubject says that the plugin exchanges the token of Identity.Subject. Without
// it the host does not give it away.
func UsesSubject() AuthOption {
	return func(o *authOptions) { o.capabilities = append(o.capabilities, wire.CapSubject) }
}

// Signs says that some instances sign. It is needed only where the factory's result
// is an interface, because otherwise the type tells.
func Signs() AuthOption {
	return func(o *authOptions) { o.capabilities = append(o.capabilities, wire.CapSign) }
}

// LogsIn says that some instances take a person through a login; see Signs.
func LogsIn() AuthOption {
	return func(o *authOptions) { o.capabilities = append(o.capabilities, wire.CapLogin) }
}

// Observes says that some instances learn from answers; see Signs.
func Observes() AuthOption {
	return func(o *authOptions) { o.capabilities = append(o.capabilities, wire.CapObserve) }
}

// Auth makes a plugin of a factory of credential providers. The factory is called
// once per instance, for several at once perhaps, with a context that ends with the
// call. What it starts for later has to end in the provider's Close.
func Auth[C any, P auth.Provider](factory func(ctx context.Context, cfg C) (P, error), opts ...AuthOption) Kind {
	k := &authKind[C, P]{factory: factory}
	for _, opt := range opts {
		opt(&k.options)
	}
	if len(k.options.headers) == 0 {
		k.options.headers = []string{"Authorization"}
	}
	t := reflect.TypeFor[P]()
	if implementsAny(t, reflect.TypeFor[auth.Signer](), reflect.TypeFor[interface{ Signer() (auth.Signer, bool) }]()) {
		Signs()(&k.options)
	}
	if implementsAny(t, reflect.TypeFor[auth.Interactive](),
		reflect.TypeFor[interface {
			Interactive() (auth.Interactive, bool)
		}]()) {
		LogsIn()(&k.options)
	}
	if implementsAny(t, reflect.TypeFor[auth.Observer](),
		reflect.TypeFor[interface{ Observer() (auth.Observer, bool) }]()) {
		Observes()(&k.options)
	}
	slices.Sort(k.options.capabilities)
	k.options.capabilities = slices.Compact(k.options.capabilities)
	k.schema, k.secrets, k.err = schemaOf[C]()
	if factory == nil {
		k.err = errors.New("sdk: Auth was given no factory")
	}
	return Kind{impl: k}
}

func implementsAny(t reflect.Type, interfaces ...reflect.Type) bool {
	return slices.ContainsFunc(interfaces, t.Implements)
}

// authKind is the author's side of the kind auth.
type authKind[C any, P auth.Provider] struct {
	factory func(context.Context, C) (P, error)
	options authOptions
	schema  []byte
	secrets []string // the paths of secret fields
	err     error    // the author's mistake
}

func (k *authKind[C, P]) name() string { return wire.KindAuth }

func (k *authKind[C, P]) describe() (wire.KindDescription, error) {
	return wire.KindDescription{
		Name: wire.KindAuth, Majors: []uint32{1}, Capabilities: k.options.capabilities,
		Headers: k.options.headers, Config: k.schema,
	}, k.err
}

func (k *authKind[C, P]) validate(_ context.Context, config []byte, secrets map[string][]byte) error {
	cfg, err := decode[C](config, secrets, k.secrets)
	if err != nil {
		return err
	}
	if v, ok := any(&cfg).(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

func (k *authKind[C, P]) open(ctx context.Context, config []byte, secrets map[string][]byte) (opened, error) {
	cfg, err := decode[C](config, secrets, k.secrets)
	if err != nil {
		return opened{}, err
	}
	p, err := k.factory(ctx, cfg)
	if err != nil {
		return opened{}, err
	}
	if v := reflect.ValueOf(p); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return opened{}, errors.New("the factory returned neither a provider nor an error")
	}
	caps := []string{}
	if _, ok := auth.AsSigner(p); ok {
		caps = append(caps, wire.CapSign)
	}
	if _, ok := auth.AsInteractive(p); ok {
		caps = append(caps, wire.CapLogin)
	}
	var observed []string
	if o, ok := auth.AsObserver(p); ok {
		caps = append(caps, wire.CapObserve)
		observed = o.ObservedHeaders()
	}
	for _, c := range caps {
		if !slices.Contains(k.options.capabilities, c) {
			_ = p.Close(ctx)
			return opened{}, fmt.Errorf("the provider has the capability %q, which the plugin does not declare: "+
				"its author adds sdk.Signs(), sdk.LogsIn() or sdk.Observes() to sdk.Auth", c)
		}
	}
	return opened{value: auth.Provider(p), capabilities: caps, observed: observed, close: p.Close}, nil
}

func (k *authKind[C, P]) register(srv *grpc.Server, set *instances) {
	authv1.RegisterAuthServiceServer(srv, &authServer{set: set})
}

// authServer serves the instances of the kind auth.
type authServer struct {
	authv1.UnimplementedAuthServiceServer

	set *instances
}

func (s *authServer) Credentials(
	ctx context.Context, req *authv1.CredentialsRequest,
) (*authv1.CredentialsResponse, error) {
	p, end, err := s.provider(req.GetInstance())
	if err != nil {
		return nil, err
	}
	defer end()
	c, err := p.Credentials(ctx, wire.RequestFrom(req.GetRequest()))
	if err != nil {
		return nil, err
	}
	return wire.CredentialsTo(c), nil
}

func (s *authServer) Challenge(ctx context.Context, req *authv1.ChallengeRequest) (*authv1.ChallengeResponse, error) {
	p, end, err := s.provider(req.GetInstance())
	if err != nil {
		return nil, err
	}
	defer end()
	outcome, err := p.Challenge(ctx, wire.RequestFrom(req.GetRequest()), wire.ChallengeFrom(req))
	if err != nil && outcome != auth.NeedsLogin {
		return nil, err
	}
	if err != nil {
		return nil, errors.Join(err, auth.ErrInteractionRequired)
	}
	return &authv1.ChallengeResponse{Outcome: wire.OutcomeTo(outcome)}, nil
}

// provider finds the instance for one call.
func (s *authServer) provider(name string) (auth.Provider, func(), error) {
	v, end, err := s.set.begin(name, wire.KindAuth)
	if err != nil {
		return nil, nil, err
	}
	p, ok := v.(auth.Provider)
	if !ok {
		end()
		return nil, nil, fmt.Errorf("%w %q", wire.ErrNoInstance, name)
	}
	return p, end, nil
}
