package core

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The word of an asset says who is at it, so that whoever comes at the wrong
// time finds out. The low half counts those who use it.
const (
	assetUsers  = 1<<16 - 1
	assetAlone  = 1 << 16 // the one user was promised to be alone
	assetInCare = 1 << 17 // it is being probed or reset
	assetClosed = 1 << 18
)

// asset is a resource that checks its own use.
type asset struct {
	vault *vault
	n     int // in the order they were made, from 1
	word  atomic.Int64
	dirty atomic.Bool // used since its last reset
}

// vault is where assets come from. It remembers them, and what went wrong.
type vault struct {
	share  int
	resets bool         // an asset has to be reset between its holders
	lapse  atomic.Int64 // from this moment on, in nanoseconds, assets may be closed under their holders

	mu     sync.Mutex
	made   []*asset
	faults []string
}

func newVault(share int) *vault {
	v := &vault{share: share}
	v.lapse.Store(1<<63 - 1)
	return v
}

func (v *vault) fault(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.faults) < 10 {
		v.faults = append(v.faults, fmt.Sprintf(format, args...))
	}
}

// blame fails the test for what went wrong so far.
func (v *vault) blame(t testing.TB) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, f := range v.faults {
		t.Error(f)
	}
	v.faults = nil
}

// assets returns all that were made so far.
func (v *vault) assets() []*asset {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]*asset(nil), v.made...)
}

// open makes an asset.
func (v *vault) open(context.Context) (*asset, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	a := &asset{vault: v, n: len(v.made) + 1}
	v.made = append(v.made, a)
	return a, nil
}

// allClosed fails the test for every asset that is still open.
func (v *vault) allClosed(t testing.TB) {
	t.Helper()
	for _, a := range v.assets() {
		if a.word.Load()&assetClosed == 0 {
			t.Errorf("asset %d was never closed", a.n)
		}
	}
}

// enter begins a use of a. leave ends it, before the lease is given back.
func (a *asset) enter(alone bool) {
	for {
		w := a.word.Load()
		next := w + 1
		if alone {
			next |= assetAlone
		}
		if !a.word.CompareAndSwap(w, next) {
			continue
		}
		users := w & assetUsers
		switch {
		case w&assetClosed != 0:
			a.vault.fault("asset %d was handed out after it was closed", a.n)
		case w&assetInCare != 0:
			a.vault.fault("asset %d was handed out while it was probed or reset", a.n)
		case w&assetAlone != 0 || alone && users > 0:
			a.vault.fault("asset %d was handed out beside a lease that was to be alone", a.n)
		case users >= int64(a.vault.share):
			a.vault.fault("asset %d was handed out to %d at once, its share limit is %d", a.n, users+1, a.vault.share)
		case a.vault.share == 1 && a.vault.resets && a.dirty.Load():
			a.vault.fault("asset %d was handed out without a reset", a.n)
		}
		a.dirty.Store(true)
		return
	}
}

func (a *asset) leave(alone bool) {
	gone := int64(1)
	if alone {
		gone |= assetAlone
	}
	if a.word.Add(-gone)&assetUsers == assetUsers {
		a.vault.fault("asset %d was left more often than entered", a.n)
	}
}

// care begins a probe or reset of a, which must be idle, and returns its end.
func (a *asset) care(what string) (done func()) {
	for {
		w := a.word.Load()
		if !a.word.CompareAndSwap(w, w|assetInCare) {
			continue
		}
		if w != 0 {
			a.vault.fault("%s of asset %d in state %#x: it is used, in care or closed", what, a.n, w)
		}
		return func() { a.word.And(^assetInCare) }
	}
}

// Close notes that a is closed.
func (a *asset) Close() error {
	w := a.word.Or(assetClosed)
	switch {
	case w&assetClosed != 0:
		a.vault.fault("asset %d was closed twice", a.n)
	case w&assetInCare != 0:
		a.vault.fault("asset %d was closed while it was probed or reset", a.n)
	case w&assetUsers != 0 && time.Now().UnixNano() < a.vault.lapse.Load():
		a.vault.fault("asset %d was closed under its holder", a.n)
	}
	return nil
}
