package host

import (
	"context"
	"errors"
	"slices"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

var _ auth.Provider = (*authProvider)(nil)

// Auth opens an instance of the kind auth. What it returns signs if the instance
// does, and logs in if it does; auth.AsSigner and auth.AsInteractive tell. Its Close
// ends the instance. Put an auth.Cache in front of it.
func (r *Running) Auth(ctx context.Context, in Instance) (auth.Provider, error) {
	i, err := r.prepare(in, wire.KindAuth)
	if err != nil {
		return nil, err
	}
	if err := r.add(ctx, i); err != nil {
		return nil, err
	}
	return &authProvider{running: r, instance: i}, nil
}

// authProvider is an instance, wherever it runs at the moment.
type authProvider struct {
	running  *Running
	instance *instance
}

// Signer returns the instance's signer if it has one; see auth.AsSigner.
func (a *authProvider) Signer() (auth.Signer, bool) {
	if !a.can(wire.CapSign) {
		return nil, false
	}
	return (*authSigner)(a), true
}

// Interactive returns the instance's login if it has one; see auth.AsInteractive.
func (a *authProvider) Interactive() (auth.Interactive, bool) {
	if !a.can(wire.CapLogin) {
		return nil, false
	}
	return (*authLogin)(a), true
}

// Observer returns what tells the instance of answers, if it wants to know; see
// auth.AsObserver.
func (a *authProvider) Observer() (auth.Observer, bool) {
	if !a.can(wire.CapObserve) {
		return nil, false
	}
	return (*authObserver)(a), true
}

// Credentials asks the plugin.
func (a *authProvider) Credentials(ctx context.Context, req auth.Request) (auth.Credentials, error) {
	ctx, cancel := withDefaultDeadline(ctx, a.running.limits().Call)
	defer cancel()
	var creds auth.Credentials
	var subject subject
	err := a.running.call(ctx, "Credentials", a.instance.name, func(ctx context.Context, p *process) error {
		m, err := authv1.NewAuthServiceClient(p.conn).Credentials(ctx, &authv1.CredentialsRequest{
			Instance: a.instance.name, Request: subject.add(ctx, p, req),
		})
		if err != nil {
			return err
		}
		creds = wire.CredentialsFrom(m)
		return policyOf(p).checkHeader(creds.Header)
	})
	if err != nil {
		return auth.Credentials{}, subject.blame(err)
	}
	return creds, nil
}

// Challenge tells the plugin of a refusal.
func (a *authProvider) Challenge(ctx context.Context, req auth.Request, ch auth.Challenge) (auth.Outcome, error) {
	ctx, cancel := withDefaultDeadline(ctx, a.running.limits().Call)
	defer cancel()
	outcome := auth.GiveUp
	err := a.running.call(ctx, "Challenge", a.instance.name, func(ctx context.Context, p *process) error {
		if err := checkOrigin(req.Target, ch.Sent.URL); err != nil {
			return err
		}
		m, err := authv1.NewAuthServiceClient(p.conn).Challenge(ctx, wire.ChallengeTo(a.instance.name, req, ch))
		if err != nil {
			return err
		}
		outcome = wire.OutcomeFrom(m.GetOutcome())
		return nil
	})
	if errors.Is(err, auth.ErrInteractionRequired) {
		return auth.NeedsLogin, err
	}
	return outcome, err
}

// Close ends the instance.
func (a *authProvider) Close(ctx context.Context) error {
	return a.running.closeInstance(ctx, a.instance)
}

func (a *authProvider) can(capability string) bool {
	a.instance.mu.Lock()
	defer a.instance.mu.Unlock()
	return slices.Contains(a.instance.capabilities, capability)
}

func policyOf(p *process) policy { return policy{headers: p.kind(wire.KindAuth).Headers} }

// subject is the token of an identity, for one call. It goes only to plugins that
// say they use it, and is asked for once, however often the call is repeated.
type subject struct {
	asked bool
	token []byte
	err   error
}

func (s *subject) add(ctx context.Context, p *process, req auth.Request) *authv1.Request {
	m := wire.RequestTo(req)
	if req.Identity.Subject == nil || !slices.Contains(p.kind(wire.KindAuth).Capabilities, wire.CapSubject) {
		return m
	}
	if !s.asked {
		s.asked = true
		var secret auth.Secret
		secret, s.err = req.Identity.Subject(ctx)
		s.token = []byte(secret.Reveal())
	}
	m.Identity.Subject = &authv1.Subject{Token: s.token}
	if s.err != nil {
		m.Identity.Subject = &authv1.Subject{Problem: wire.Clean("the host has no subject token: "+s.err.Error(), 1024)}
	}
	return m
}

// blame adds why there was no token to an error that may come of it.
func (s *subject) blame(err error) error {
	if s.err == nil {
		return err
	}
	return errors.Join(err, s.err)
}
