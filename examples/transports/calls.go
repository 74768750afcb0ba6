package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// sameCalls makes one call of each kind and returns what came back, in words that
// can be compared: by whichever road, the same.
func sameCalls(ctx context.Context, p *mcpool.Pool) ([]string, error) {
	var got []string
	note := func(what string, result any, err error) error {
		var wire *jsonrpc.Error
		if err != nil && !errors.As(err, &wire) {
			return fmt.Errorf("%s: %w", what, err)
		}
		b, failed := json.Marshal(result)
		if failed != nil {
			return fmt.Errorf("%s: %w", what, failed)
		}
		said := string(b)
		if wire != nil {
			said = fmt.Sprintf("JSON-RPC error %d: %s", wire.Code, wire.Message)
		}
		if len(said) > 1<<10 {
			said = fmt.Sprintf("%d bytes, SHA-256 %x", len(said), sha256.Sum256([]byte(said)))
		}
		got = append(got, what+": "+said)
		return nil
	}
	call := func(name string, args any, opts ...mcpool.Option) error {
		res, err := p.Call(ctx, name, args, opts...)
		return note(name, res, err)
	}
	text := func(s string) map[string]any { return map[string]any{"text": s} }
	for _, step := range []func() error{
		func() error { tools, err := p.ListTools(ctx); return note("tools/list", tools, err) },
		func() error { return call("echo", text("hi")) },
		func() error { return call("echo", text("two\nlines, a \"quote\", \u2028 and \u4e16\u754c \U0001f30d")) },
		func() error { return call("echo", text(strings.Repeat("256 KB ", 256<<10/7))) },
		func() error { return call("add", map[string]any{"a": 2, "b": 40}) },
		func() error { return call("add", map[string]any{"a": "no number"}) },
		func() error { return call("fail", text("as it should")) },
		func() error { return call("no such tool", nil) },
		func() error { return call("ask", text("who?"), answers()...) },
		func() error {
			res, err := p.GetPrompt(ctx, &mcp.GetPromptParams{Name: "greet"})
			return note("prompts/get", res, err)
		},
		func() error {
			res, err := p.ReadResource(ctx, &mcp.ReadResourceParams{URI: "test://note"})
			return note("resources/read", res, err)
		},
	} {
		if err := step(); err != nil {
			return got, err
		}
	}
	return got, nil
}

// differences tells where two lists of results part.
func differences(want, got []string) error {
	if len(want) != len(got) {
		return fmt.Errorf("%d results, not %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			return fmt.Errorf("got %.300s, not %.300s", got[i], want[i])
		}
	}
	return nil
}
