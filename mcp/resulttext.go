package mcpool

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// ResultText returns what a model can read of a result: its texts, line by line; in
// place of pictures, sounds and other data what kind they are and how large; and
// its structured content if there is nothing else. The text of a tool that failed
// begins with "Error: ".
func ResultText(res *mcp.CallToolResult) string {
	if res == nil {
		return ""
	}
	lines := make([]string, 0, len(res.Content))
	for _, c := range res.Content {
		if line, ok := contentText(c); ok {
			lines = append(lines, line)
		}
	}
	text := strings.Join(lines, "\n")
	if len(lines) == 0 && res.StructuredContent != nil {
		if raw, err := json.Marshal(res.StructuredContent); err == nil {
			text = string(raw)
		}
	}
	if !res.IsError {
		return text
	}
	if text == "" {
		text = "the tool failed and did not say why"
	}
	return "Error: " + text
}

func contentText(c mcp.Content) (string, bool) {
	switch c := c.(type) {
	case *mcp.TextContent:
		return c.Text, true
	case *mcp.ImageContent:
		return fmt.Sprintf("[image %s, %d bytes]", c.MIMEType, len(c.Data)), true
	case *mcp.AudioContent:
		return fmt.Sprintf("[audio %s, %d bytes]", c.MIMEType, len(c.Data)), true
	case *mcp.ResourceLink:
		return fmt.Sprintf("[resource %s: %s]", c.Name, c.URI), true
	case *mcp.EmbeddedResource:
		switch r := c.Resource; {
		case r == nil:
			return "", false
		case r.Text != "" || r.Blob == nil:
			return r.Text, true
		default:
			return fmt.Sprintf("[resource %s: %s, %d bytes]", r.URI, r.MIMEType, len(r.Blob)), true
		}
	}
	return "", false
}
