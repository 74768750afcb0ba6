package host

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

var _ auth.Signer = (*authSigner)(nil)

// authSigner is an instance that signs.
type authSigner authProvider

// Sign has the plugin sign, on the stream that all signatures of a process share.
func (a *authSigner) Sign(ctx context.Context, req auth.Request, hr auth.HTTPRequest) (auth.Signature, error) {
	caller, due := ctx, time.Time{}
	if _, ok := ctx.Deadline(); !ok {
		due = time.Now().Add(a.running.limits().Call)
		var release func()
		ctx, release = wire.Due(ctx, due)
		defer release()
	}
	var sig auth.Signature
	err := a.running.call(ctx, "Sign", a.instance.name, func(ctx context.Context, p *process) error {
		if err := checkOrigin(req.Target, hr.URL); err != nil {
			return err
		}
		call := &authv1.SignCall{
			Instance: a.instance.name, Request: wire.RequestTo(req), Http: wire.HTTPRequestTo(hr),
			Traceparent: traceparentOf(ctx),
		}
		if deadline, ok := ctx.Deadline(); ok {
			call.Timeout = durationpb.New(time.Until(deadline))
		}
		// One that is too large would break the stream under everybody else.
		size, most := signSize(call), a.running.limits().MessageBytes-streamRoom
		if size > most {
			size = proto.Size(call)
		}
		if size > most {
			return &Error{Message: fmt.Sprintf("a message of %d bytes is larger than Limits.MessageBytes", size)}
		}
		m, err := p.signing.sign(caller, due, call, size)
		if err != nil {
			return err
		}
		sig = wire.SignatureFrom(m)
		if err := checkQuery(sig.RawQuery); err != nil {
			return err
		}
		return policyOf(p).checkHeader(sig.Header)
	})
	if err != nil {
		return auth.Signature{}, err
	}
	return sig, nil
}

// signSize is the size of a message, or more: what a field or a message has besides its
// bytes is counted as 8. The exact size is found out when the message is sent, and finding
// it out twice would be a twentieth of a signature.
func signSize(call *authv1.SignCall) int {
	const extra = 8
	req, hr := call.GetRequest(), call.GetHttp()
	id, target := req.GetIdentity(), req.GetTarget()
	n := 32*extra + len(call.GetInstance()) + len(call.GetTraceparent()) + len(id.GetId()) +
		len(target.GetName()) + len(target.GetUrl()) + len(target.GetResource()) +
		len(hr.GetMethod()) + len(hr.GetUrl()) + len(hr.GetHost()) + len(hr.GetBodySha256())
	for name, value := range id.GetAttrs() {
		n += 3*extra + len(name) + len(value)
	}
	for _, scope := range req.GetScopes() {
		n += extra + len(scope)
	}
	for _, h := range hr.GetHeaders() {
		n += 2*extra + len(h.GetName())
		for _, v := range h.GetValues() {
			n += extra + len(v)
		}
	}
	return n
}
