package mcpool

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// SchemaChange says how the tools of an identity changed.
type SchemaChange struct {
	Pool     string
	Identity string // a label, not the identity
	// Old and New are hashes over all tools; see SchemaHash.
	Old, New string
	// Names of tools, sorted.
	Added, Removed, Changed []string
}

// SchemaHash returns a hash over what a caller of the tools has to know: names,
// descriptions, schemas and annotations. It depends neither on the order of the
// tools nor on that of fields within their schemas.
func SchemaHash(tools []*mcp.Tool) string {
	sums := toolSums(tools)
	names := make([]string, 0, len(sums))
	for name := range sums {
		names = append(names, name)
	}
	slices.Sort(names)
	h := sha256.New()
	for _, name := range names {
		sum := sums[name]
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// toolSums hashes each tool by itself.
func toolSums(tools []*mcp.Tool) map[string][32]byte {
	sums := make(map[string][32]byte, len(tools))
	for _, t := range tools {
		if t != nil {
			sums[t.Name] = toolSum(t)
		}
	}
	return sums
}

func toolSum(t *mcp.Tool) [32]byte {
	// Through any, because maps are written with their keys sorted.
	canonical := func(v any) json.RawMessage {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil
		}
		var plain any
		if json.Unmarshal(raw, &plain) != nil {
			return nil
		}
		raw, _ = json.Marshal(plain) //nolint:errchkjson // it came from JSON
		return raw
	}
	raw, _ := json.Marshal([]any{ //nolint:errchkjson // nothing in it can fail
		t.Name, t.Title, t.Description, canonical(t.InputSchema), canonical(t.OutputSchema), canonical(t.Annotations),
	})
	return sha256.Sum256(raw)
}

// schemaWatch compares lists of tools. What changed is told by one goroutine at a
// time, in order: while one is telling, further changes add up to one.
type schemaWatch struct {
	mu      sync.Mutex
	from    uint64 // guarded by mu; when the fetch of now began
	now     schema // guarded by mu; as last fetched
	last    schema // guarded by mu; as last told
	telling bool   // guarded by mu
}

// schema is what there is to compare of a list of tools.
type schema struct {
	hash string // empty before the first list
	sums map[string][32]byte
}

// update notes a list, unless it knows a younger one, and returns true if something
// changed since the one before.
func (w *schemaWatch) update(tools []*mcp.Tool, began uint64) bool {
	now := schema{SchemaHash(tools), toolSums(tools)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if began < w.from {
		return false
	}
	before := w.now
	w.from, w.now = began, now
	if before.hash == "" {
		w.last = now
	}
	return w.now.hash != before.hash && before.hash != ""
}

// next returns what is to be told, if there is something and nobody else is telling.
// Afterwards told has to be called.
func (w *schemaWatch) next() (c SchemaChange, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.telling || w.last.hash == w.now.hash {
		return c, false
	}
	c = w.now.since(w.last)
	w.telling, w.last = true, w.now
	return c, true
}

func (w *schemaWatch) told() {
	w.mu.Lock()
	w.telling = false
	w.mu.Unlock()
}

// since tells what changed since before.
func (s schema) since(before schema) SchemaChange {
	c := SchemaChange{Old: before.hash, New: s.hash}
	for name, sum := range s.sums {
		if was, ok := before.sums[name]; !ok {
			c.Added = append(c.Added, name)
		} else if was != sum {
			c.Changed = append(c.Changed, name)
		}
	}
	for name := range before.sums {
		if _, ok := s.sums[name]; !ok {
			c.Removed = append(c.Removed, name)
		}
	}
	slices.Sort(c.Added)
	slices.Sort(c.Removed)
	slices.Sort(c.Changed)
	return c
}

// current returns the hash of the last list, empty if there was none.
func (w *schemaWatch) current() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now.hash
}
