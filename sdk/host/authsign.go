package host

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/go-mcpool/mcpool/sdk/auth"
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
		call := wire.SignCall{Instance: a.instance.name, Request: req, HTTP: hr, Traceparent: traceparentOf(ctx)}
		if deadline, ok := ctx.Deadline(); ok {
			call.Timeout = durationpb.New(time.Until(deadline))
		}
		message, err := wire.SignCallTo(&call)
		if err != nil {
			return &Error{Message: err.Error()}
		}
		if sig, err = p.signing.sign(caller, due, message); err != nil {
			return err
		}
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
