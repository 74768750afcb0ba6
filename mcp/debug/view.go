package debug

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// View is all that a page shows, and what it is as JSON.
type View struct {
	Time     time.Time            `json:"time"`
	Stats    mcpool.Stats         `json:"stats"`
	Sessions []mcpool.SessionInfo `json:"sessions"`
	More     int                  `json:"sessions_not_shown"`
	Changes  []Event              `json:"events"`
	Failures []Event              `json:"failed_calls"`
	Calls    []Calls              `json:"calls"`
	Catalog  Catalog              `json:"catalog"`
	Points   []Point              `json:"points"`
}

// Calls are the times of a tool or a method. Quantiles are exact to 20 %.
type Calls struct {
	Name       string  `json:"name"`
	Count      uint64  `json:"count"`
	Failed     uint64  `json:"failed"`      // ended with an error
	ToolFailed uint64  `json:"tool_failed"` // the tool said so
	Mean       float64 `json:"mean_seconds"`
	P50        float64 `json:"p50_seconds"`
	P90        float64 `json:"p90_seconds"`
	P99        float64 `json:"p99_seconds"`
	Max        float64 `json:"max_seconds"`
	Last       float64 `json:"last_seconds"`
}

// Catalog is what is in memory of the default identity's tools.
type Catalog struct {
	Hash    string `json:"schema_hash"`
	Current bool   `json:"current"` // not invalidated since it was fetched
	Tools   []Tool `json:"tools"`
	More    int    `json:"tools_not_shown"`
}

// Tool is one of them.
type Tool struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"` // its beginning
	Hints       string `json:"hints,omitempty"`
	Hash        string `json:"hash"` // of what a caller has to know of it
}

// view reads everything. It calls the pool, so it takes no lock around that.
func (p *Page) view() View {
	v := View{Time: time.Now()}
	if s := p.pool.Load(); s != nil {
		v.Stats, v.Sessions = s.Stats(), s.Snapshot()
		if n := len(v.Sessions) - p.cfg.Rows; n > 0 {
			v.Sessions, v.More = v.Sessions[:p.cfg.Rows], n
		}
		tools, current := s.KnownTools()
		v.Catalog = p.catalog(tools, v.Stats.SchemaHash)
		v.Catalog.Current = current
	}
	r := p.records
	r.mu.Lock()
	defer r.mu.Unlock()
	v.Points = slices.Clone(r.points)
	v.Changes, v.Failures = r.changes.newestFirst(), r.failures.newestFirst()
	for _, name := range r.order {
		l := r.calls[name]
		v.Calls = append(v.Calls, Calls{
			Name: name, Count: l.count, Failed: l.failed, ToolFailed: l.toolFailed,
			Mean: l.sum.Seconds() / float64(l.count),
			P50:  l.quantile(.5).Seconds(), P90: l.quantile(.9).Seconds(), P99: l.quantile(.99).Seconds(),
			Max: l.most.Seconds(), Last: l.last.Seconds(),
		})
	}
	slices.SortStableFunc(v.Calls, func(a, b Calls) int { return strings.Compare(a.Name, b.Name) })
	return v
}

func (p *Page) catalog(tools []*mcp.Tool, hash string) Catalog {
	c := Catalog{Hash: hash}
	for _, t := range tools {
		if t == nil {
			continue
		}
		if len(c.Tools) == p.cfg.Rows {
			c.More++
			continue
		}
		c.Tools = append(c.Tools, Tool{
			Name: clip(t.Name, 100), Description: clip(t.Description, 200), Hints: hints(t.Annotations), Hash: hashOf(t),
		})
	}
	return c
}

// hashOf is the beginning of mcpool.SchemaHash of one tool: to see whether two are alike.
func hashOf(t *mcp.Tool) string { return mcpool.SchemaHash([]*mcp.Tool{t})[:12] }

func hints(a *mcp.ToolAnnotations) string {
	if a == nil {
		return ""
	}
	var words []string
	if a.ReadOnlyHint {
		words = append(words, "read-only")
	}
	if a.IdempotentHint {
		words = append(words, "idempotent")
	}
	if a.DestructiveHint != nil && *a.DestructiveHint {
		words = append(words, "destructive")
	}
	return strings.Join(words, ", ")
}

// MarshalJSON has empty lists be lists.
func (v View) MarshalJSON() ([]byte, error) {
	type plain View
	p := plain(v)
	p.Sessions, p.Changes, p.Failures = orEmpty(p.Sessions), orEmpty(p.Changes), orEmpty(p.Failures)
	p.Calls, p.Points, p.Catalog.Tools = orEmpty(p.Calls), orEmpty(p.Points), orEmpty(p.Catalog.Tools)
	return json.Marshal(p)
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
