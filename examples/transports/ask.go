//nolint:staticcheck // sampling is deprecated, and still spoken
package main

//lint:file-ignore SA1019 sampling is deprecated, and still spoken

import (
	"context"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// ask asks by answering with its questions, which is how 2026-07-28 asks; for older
// sessions the SDK makes requests of them.
func ask(_ context.Context, r *mcp.CallToolRequest, a textArgs) (*mcp.CallToolResult, any, error) {
	answer, answered := r.Params.InputResponses["user"].(*mcp.ElicitResult)
	said := ""
	switch sample := r.Params.InputResponses["model"].(type) {
	case *mcp.CreateMessageResult:
		said = saidIn(sample.Content)
	case *mcp.CreateMessageWithToolsResult:
		for _, c := range sample.Content {
			said += saidIn(c)
		}
	default:
		answered = false
	}
	if !answered {
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{
			"user": &mcp.ElicitParams{Message: a.Text, RequestedSchema: map[string]any{
				"type": "object", "properties": map[string]any{"answer": map[string]any{"type": "string"}},
			}},
			"model": &mcp.CreateMessageParams{MaxTokens: 10, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: a.Text}}}},
		}}, nil, nil
	}
	return textResult(fmt.Sprint(answer.Content["answer"], " and ", said)), nil, nil
}

func saidIn(c mcp.Content) string {
	if t, ok := c.(*mcp.TextContent); ok {
		return t.Text
	}
	return ""
}

// answers are what the client says when it is asked.
func answers() []mcpool.Option {
	return []mcpool.Option{
		mcpool.WithElicitation(func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"answer": "the user heard " + r.Params.Message}}, nil
		}),
		mcpool.WithSampling(func(_ context.Context, r *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			said := "the model heard " + saidIn(r.Params.Messages[0].Content)
			return &mcp.CreateMessageResult{Model: "none", Role: "assistant", Content: &mcp.TextContent{Text: said}}, nil
		}),
	}
}
