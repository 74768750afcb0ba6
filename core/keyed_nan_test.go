package core

import (
	"context"
	"errors"
	"math"
	"testing"
)

// A map never finds a NaN again: its pool could not be closed, and would be
// mistaken for the coldest for ever.
func TestAKeyThatDoesNotEqualItselfIsRefused(t *testing.T) {
	t.Parallel()
	k, err := NewKeyed(KeyedConfig[float64, *thing]{
		Open: func(context.Context, float64) (*thing, error) { return nil, errors.New("opened") },
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Acquire(t.Context(), math.NaN()); !errors.Is(err, errLostKey) || k.Len() != 0 {
		t.Errorf("Acquire: %v, with %d keys", err, k.Len())
	}
	if err := k.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
