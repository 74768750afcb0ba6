package mcpool

import (
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The listener of a new pool invalidates the lists when it opens, which may be
// during the first fetch. A program that lists once has names all the same.
func TestToolsWhoseListWasInvalidatedMeanwhileAreKnown(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	p, err := Open(t.Context(), Config{Endpoint: s.url(), Min: 1, NoListener: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	l := &p.def.lists.tools
	before := l.mark()
	p.InvalidateTools()
	l.put([]*mcp.Tool{{Name: "old"}}, before)
	if tools, current := p.KnownTools(); current || len(tools) != 1 || !p.def.lists.hasTool("old") {
		t.Errorf("known are %d tools (current: %v)", len(tools), current)
	}
	if tools, ok := l.current(); ok {
		t.Errorf("a list that was invalidated is used: %v", tools)
	}
	before = l.mark()
	l.put([]*mcp.Tool{{Name: "new"}}, before)
	l.put([]*mcp.Tool{{Name: "old"}}, before-1)
	if tools, current := p.KnownTools(); !current || len(tools) != 1 || tools[0].Name != "new" {
		t.Errorf("a list that came late replaced the current one: %v", tools)
	}
}

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
