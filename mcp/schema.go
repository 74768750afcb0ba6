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

// schemaWatch compares a list of tools with the one before.
type schemaWatch struct {
	mu   sync.Mutex
	hash string              // guarded by mu; empty before the first list
	sums map[string][32]byte // guarded by mu
}

// compare tells what changed since the last call, if anything did.
func (w *schemaWatch) compare(now []*mcp.Tool) (c SchemaChange, changed bool) {
	hash, sums := SchemaHash(now), toolSums(now)
	w.mu.Lock()
	defer w.mu.Unlock()
	c.Old, c.New = w.hash, hash
	before := w.sums
	w.hash, w.sums = hash, sums
	if c.Old == "" || c.Old == c.New {
		return c, false
	}
	for name, sum := range sums {
		if was, ok := before[name]; !ok {
			c.Added = append(c.Added, name)
		} else if was != sum {
			c.Changed = append(c.Changed, name)
		}
	}
	for name := range before {
		if _, ok := sums[name]; !ok {
			c.Removed = append(c.Removed, name)
		}
	}
	slices.Sort(c.Added)
	slices.Sort(c.Removed)
	slices.Sort(c.Changed)
	return c, true
}

// current returns the hash of the last list, empty if there was none.
func (w *schemaWatch) current() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hash
}
