package mcpool

import "testing"

func TestKnownToolsAreThoseInMemory(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	p, err := Open(t.Context(), Config{Endpoint: s.url(), Min: 1, NoListener: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	if got, current := p.KnownTools(); got != nil || current {
		t.Errorf("%d tools are known before anybody asked", len(got))
	}
	listed, err := p.ListTools(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known, current := p.KnownTools()
	if !current || len(known) == 0 || len(known) != len(listed) || known[0] != listed[0] {
		t.Errorf("known are %d tools, listed %d", len(known), len(listed))
	}
	known[0] = nil
	if again, _ := p.KnownTools(); again[0] == nil {
		t.Error("who changes the slice changes the catalog")
	}
	fetched := p.Stats().ListFetches
	p.InvalidateTools()
	if got, current := p.KnownTools(); current || len(got) != len(listed) || p.Stats().ListFetches != fetched {
		t.Errorf("after they were invalidated %d tools are known (current: %v), and %d lists were fetched", len(got), current, p.Stats().ListFetches-fetched)
	}
}
