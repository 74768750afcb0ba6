package mcpool

import "github.com/modelcontextprotocol/go-sdk/mcp"

// KnownTools returns the tools of the default identity as they are in memory, and
// asks nobody: nil before the first list and after one that was invalidated. They
// may be older than Config.ToolsTTL. It is for showing; ListTools is for using.
func (p *Pool) KnownTools() []*mcp.Tool {
	items, ok := p.def.lists.tools.peek()
	if !ok {
		return nil
	}
	return append([]*mcp.Tool(nil), items...)
}
