package auth

import "context"

// cacheSigner passes every call through: a signature is for one request.
type cacheSigner struct {
	cache  *Cache
	signer Signer
}

func (s *cacheSigner) Sign(ctx context.Context, req Request, hr HTTPRequest) (sig Signature, err error) {
	if !s.cache.begin() {
		return Signature{}, s.cache.closedError()
	}
	defer s.cache.end()
	err = guard("Sign", func() (err error) {
		sig, err = s.signer.Sign(ctx, req, hr)
		return err
	})
	if err != nil {
		return Signature{}, err
	}
	return sig, nil
}

// cacheLogin passes a login through, and forgets what was known without it.
type cacheLogin struct {
	cache       *Cache
	interactive Interactive
}

func (l *cacheLogin) Login(ctx context.Context, req Request, d Dialog) error {
	if !l.cache.begin() {
		return l.cache.closedError()
	}
	defer l.cache.end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.cache.ctx, cancel)()
	err := guard("Login", func() error { return l.interactive.Login(ctx, req, d) })
	if err != nil {
		return err
	}
	l.cache.keys.remove(func(e *entry) bool {
		k := &e.key
		return k.Target == req.Target && k.Identity.ID == req.Identity.ID
	})
	return nil
}

// cacheObserver passes every observation through.
type cacheObserver struct {
	Observer

	cache *Cache
}

func (o *cacheObserver) Observe(req Request, ob Observation) {
	if !o.cache.begin() {
		return
	}
	defer o.cache.end()
	_ = guard("Observe", func() error { // nobody waits for a result
		o.Observer.Observe(req, ob)
		return nil
	})
}
