package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// TokenStore keeps what must outlive a call, and with most stores the process:
// tokens, client registrations, the DPoP key. All methods may be called from any
// number of goroutines.
type TokenStore interface {
	// Load returns what is kept under the key, the zero Entry if there is nothing. It
	// takes no lock and never waits for an Update.
	Load(ctx context.Context, key Key) (Entry, error)

	// Update calls change with what is kept under the key and keeps what it returns;
	// the zero Entry removes it. If change returns an error, nothing is kept and that
	// error returned. From before change is called until its result is kept, no other
	// Update of the same key calls its own, neither here nor in any process that
	// shares the store: change may spend a refresh token that works once. It can take
	// as long as a server does, and never calls the store. Waiting ends with ctx; what
	// change returned is kept even if ctx has ended by then.
	Update(ctx context.Context, key Key, change func(old Entry) (Entry, error)) error
}

// Key says what an Entry is about. What differs in any field never mixes.
type Key struct {
	Issuer   string `json:"issuer"`             // the authorization server
	Client   string `json:"client,omitempty"`   // the client's ID, or a word in parentheses
	Resource string `json:"resource,omitempty"` // the RFC 8707 resource; empty for what is not a token
	Identity string `json:"identity,omitempty"` // ID and a digest of Attrs
	Grant    string `json:"grant,omitempty"`    // "login", or the Grant that needs none; empty where none matters
}

func (k Key) parts() []string { return []string{k.Issuer, k.Client, k.Resource, k.Identity, k.Grant} }

// Entry is what a TokenStore keeps. Value is JSON, in the clear and in a form of
// this package's own; a store may encrypt it.
type Entry struct {
	Value auth.Secret
	// Expires is from when on the entry is of no use and may be dropped; zero if that
	// is not known.
	Expires time.Time
}

func (e Entry) expired(now time.Time) bool { return !e.Expires.IsZero() && !now.Before(e.Expires) }

// Words that stand in Key.Client where there is no ID that is known beforehand.
const (
	clientDynamic      = "(registered)"   // tokens of a dynamically registered client
	clientRegistration = "(registration)" // the registration itself
	clientDPoP         = "(dpop key)"
	clientDiscovery    = "(discovery)" // what a target said of its server
)

// identityKey tells identities apart as auth.Identity says: by ID and Attrs.
func identityKey(id auth.Identity) string {
	s := strings.NewReplacer("%", "%25", "#", "%23").Replace(id.ID)
	if len(id.Attrs) == 0 {
		return s
	}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(id.Attrs)) {
		fmt.Fprintf(h, "%d:%s%d:%s", len(name), name, len(id.Attrs[name]), id.Attrs[name])
	}
	return s + "#" + hex.EncodeToString(h.Sum(nil)[:16])
}

// MemoryStore is a TokenStore for one process, gone when it ends.
type MemoryStore struct {
	locks keyLocks

	mu      sync.RWMutex
	entries map[Key]Entry // guarded by mu
	sweepAt int           // guarded by mu; how many entries make a look for expired ones worthwhile
}

var _ TokenStore = (*MemoryStore)(nil)

// NewMemoryStore returns an empty MemoryStore.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{entries: make(map[Key]Entry), sweepAt: 64}
}

// Load implements TokenStore.
func (s *MemoryStore) Load(_ context.Context, key Key) (Entry, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.entries[key], nil
}

// Update implements TokenStore.
func (s *MemoryStore) Update(ctx context.Context, key Key, change func(Entry) (Entry, error)) error {
	unlock, err := s.locks.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	old, err := s.Load(ctx, key)
	if err != nil {
		return err
	}
	entry, err := change(old)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if entry.Value.IsEmpty() {
		delete(s.entries, key)
		return nil
	}
	s.entries[key] = entry
	if len(s.entries) > s.sweepAt {
		now := time.Now()
		maps.DeleteFunc(s.entries, func(_ Key, e Entry) bool { return e.expired(now) })
		s.sweepAt = max(64, 2*len(s.entries))
	}
	return nil
}

// String says how much is kept.
func (s *MemoryStore) String() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return fmt.Sprintf("memory token store (%d entries)", len(s.entries))
}

// Format writes String for every verb.
func (s *MemoryStore) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue is String.
func (s *MemoryStore) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON is String, quoted: a store is described, not transported, this way.
func (s *MemoryStore) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// keyLocks is a mutex per key, which can be waited for with a context. The zero
// value is ready.
type keyLocks struct {
	mu   sync.Mutex
	held map[Key]*keyLock // guarded by mu; those with users
}

type keyLock struct {
	sem   chan struct{} // holds one token while locked
	users int           // guarded by keyLocks.mu; holder and waiters
}

func (l *keyLocks) lock(ctx context.Context, key Key) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = make(map[Key]*keyLock)
	}
	k := l.held[key]
	if k == nil {
		k = &keyLock{sem: make(chan struct{}, 1)}
		l.held[key] = k
	}
	k.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		k.users--
		if k.users == 0 {
			delete(l.held, key)
		}
	}
	select {
	case k.sem <- struct{}{}:
		return func() { <-k.sem; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, fmt.Errorf("oauth: waiting for the token store: %w", ctx.Err())
	}
}
