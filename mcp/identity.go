package mcpool

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-mcpool/mcpool/core"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

// identity is one party that the pool speaks as: its credentials, its way to the
// wire, its lists. Nothing of it is ever used for another.
type identity struct {
	// Immutable after creation.
	pool     *Pool
	key      string
	label    string // shown in place of the identity
	auth     auth.Identity
	formed   bool         // from the credential headers of calls
	client   *http.Client // nil unless the endpoint is HTTP
	lists    lists
	notices  notices
	listener *listener // nil without one
	updates  subscriber

	creds    atomic.Pointer[http.Header] // credential headers for its handshakes
	epoch    atomic.Uint64               // rises with each loss of its sessions
	lostAt   atomic.Int64                // when that was, on the pool's clock
	uses     atomic.Uint64
	seenUses uint64 // by the keeper alone
	idleFrom time.Time
}

// poolKey is what core keeps apart: an identity, and what its sessions tell the
// server that they can be asked.
type poolKey struct {
	id      *identity
	ability ability
}

// newIdentity returns an identity that nobody knows of yet.
func (p *Pool) newIdentity(key string, a auth.Identity, formed bool, creds http.Header) (*identity, error) {
	a.Attrs = maps.Clone(a.Attrs)
	id := &identity{pool: p, key: key, label: p.labelOf(key), auth: a, formed: formed, idleFrom: time.Now()}
	if creds != nil {
		id.creds.Store(&creds)
	}
	id.lists.init(id)
	id.updates.id = id
	id.notices = notices{tools: id.lists.toolsChanged, prompts: id.lists.prompts.invalidate, resources: id.lists.resourcesChanged}
	if !p.cfg.NoListener && p.kind == kindHTTP {
		id.listener = &listener{id: id}
	}
	if !p.kind.http() {
		return id, nil
	}
	t, err := newChain(id)
	if err != nil {
		return nil, err
	}
	id.client = &http.Client{Transport: t, CheckRedirect: checkRedirect(nil)}
	if c := p.cfg.HTTP.Client; c != nil {
		id.client.CheckRedirect = checkRedirect(c.CheckRedirect)
	}
	return id, nil
}

// credentials returns the headers that speak for the identity, nil if the
// provider does.
func (id *identity) credentials() http.Header {
	if h := id.creds.Load(); h != nil {
		return *h
	}
	return nil
}

// settle waits a moment if the sessions of the identity were lost just now.
func (id *identity) settle(ctx context.Context) error {
	if at := id.lostAt.Load(); at == 0 || id.pool.now()-at > int64(time.Second) {
		return nil
	}
	return pauseAfterLoss(ctx)
}

// identityFor returns the identity that a call speaks as.
func (p *Pool) identityFor(o *options) (*identity, error) {
	creds := p.credentialsIn(o.header)
	switch {
	case o.identity != nil:
		id, err := p.identity("i"+identityKey(*o.identity), *o.identity, false, nil)
		if err == nil && creds != nil {
			kept := creds         // a variable of its own: creds itself would be allocated for every call
			id.creds.Store(&kept) // for its next handshake; the call has them anyway
		}
		return id, err
	case creds != nil && !p.cfg.SharedEndpoint && (p.kind.http() || p.cfg.Dialer != nil):
		return p.identity("h"+p.seal(headerKey(creds)), auth.Identity{}, true, creds)
	default:
		return p.def, nil
	}
}

// identity returns the identity under a key, a new one if there is none.
func (p *Pool) identity(key string, a auth.Identity, formed bool, creds http.Header) (*identity, error) {
	if key == p.def.key {
		return p.def, nil
	}
	if v, ok := p.identities.Load(key); ok {
		id := v.(*identity) //nolint:errcheck // nothing else is in there
		id.uses.Add(1)
		return id, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if v, ok := p.identities.Load(key); ok {
		return v.(*identity), nil //nolint:errcheck // nothing else is in there
	}
	if p.identityCount >= p.cfg.MaxIdentities && !p.dropColdestLocked() {
		return nil, fmt.Errorf("mcpool: %s serves %d identities, all in use: %w", p.cfg.Name, p.identityCount, core.ErrTooManyKeys)
	}
	id, err := p.newIdentity(key, a, formed, creds)
	if err != nil {
		return nil, err
	}
	id.uses.Add(1)
	p.identities.Store(key, id)
	p.identityCount++
	return id, nil
}

// dropColdestLocked forgets the identity that was idle longest.
// REQUIRES: p.mu.
func (p *Pool) dropColdestLocked() bool {
	var coldest *identity
	p.identities.Range(func(_, v any) bool {
		id := v.(*identity) //nolint:errcheck // nothing else is in there
		if !p.leasedLocked(id) && (coldest == nil || id.idleFrom.Before(coldest.idleFrom)) {
			coldest = id
		}
		return true
	})
	if coldest == nil {
		return false
	}
	p.dropLocked(coldest)
	return true
}

// dropLocked forgets an identity. Calls that have it already go on with it; its
// sessions are closed by core, which has not seen it used either.
// REQUIRES: p.mu.
func (p *Pool) dropLocked(id *identity) {
	p.identities.Delete(id.key)
	p.identityCount--
	if id.listener != nil {
		id.listener.stop()
	}
	if b := p.backend.Load(); b != nil {
		for _, a := range allAbilities() {
			b.others.Evict(poolKey{id, a})
		}
	}
}

// leasedLocked tells whether sessions of id are in use.
// REQUIRES: p.mu.
func (p *Pool) leasedLocked(id *identity) bool {
	if id.updates.inUse() {
		return true
	}
	b := p.backend.Load()
	for _, a := range allAbilities() {
		if s, ok := b.others.KeyStats(poolKey{id, a}); ok && s.Leased+s.Waiting+s.Opening > 0 {
			return true
		}
	}
	return false
}

// sweepIdentities forgets the identities that were idle too long.
func (p *Pool) sweepIdentities(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.identities.Range(func(_, v any) bool {
		id := v.(*identity) //nolint:errcheck // nothing else is in there
		if uses := id.uses.Load(); uses != id.seenUses || p.leasedLocked(id) {
			id.seenUses, id.idleFrom = uses, now
		} else if p.cfg.IdentityIdleTime != never && now.Sub(id.idleFrom) >= p.cfg.IdentityIdleTime {
			p.dropLocked(id)
		}
		return true
	})
}

// credentialsIn returns the credential headers among h, nil if there are none.
func (p *Pool) credentialsIn(h http.Header) http.Header {
	if len(h) == 0 {
		return nil
	}
	var creds http.Header
	for name, values := range h {
		if slices.Contains(p.cfg.CredentialHeaders, name) {
			if creds == nil {
				creds = make(http.Header)
			}
			creds[name] = values
		}
	}
	return creds
}

func (p *Pool) hasCredentials(h http.Header) bool {
	if len(h) == 0 {
		return false
	}
	for name := range h {
		if slices.Contains(p.cfg.CredentialHeaders, name) {
			return true
		}
	}
	return false
}

// seal makes a key of a secret: without the pool's own random key nobody can
// tell what it was made of.
func (p *Pool) seal(secret string) string {
	mac := hmac.New(sha256.New, p.hashKey[:])
	mac.Write([]byte(secret))
	return hex.EncodeToString(mac.Sum(nil))
}

// labelOf names an identity in Snapshot, events and logs without giving it away.
func (p *Pool) labelOf(key string) string {
	if key == identityKey(p.cfg.Identity) || key == "i"+identityKey(p.cfg.Identity) {
		return "default"
	}
	return p.seal("label " + key)[:12]
}

// identityKey writes an identity so that no two are written alike.
func identityKey(a auth.Identity) string {
	if len(a.Attrs) == 0 {
		return fmt.Sprintf("%q", a.ID)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%q", a.ID)
	for _, name := range slices.Sorted(maps.Keys(a.Attrs)) {
		fmt.Fprintf(&b, " %q=%q", name, a.Attrs[name])
	}
	return b.String()
}

// headerKey writes headers so that no two sets are written alike.
func headerKey(h http.Header) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		fmt.Fprintf(&b, "%q=%q ", name, h[name])
	}
	return b.String()
}

// registry is the identities other than the default one, by key.
type registry = sync.Map
