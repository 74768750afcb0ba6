package mcpool

import (
	"slices"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// KnownTools returns the tools of the default identity as they were listed last, and
// asks nobody: nil before the first list. Current is false once they were
// invalidated; past Config.ToolsTTL they still are current here. It is for
// showing; ListTools is for using.
func (p *Pool) KnownTools() (tools []*mcp.Tool, current bool) {
	l := &p.def.lists.tools
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.items), l.valid
}
