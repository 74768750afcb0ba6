package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// play does what a scenario wants a client to do.
func play(ctx context.Context, s scenario) error {
	c, err := connect(ctx, s)
	if err != nil {
		return err
	}
	return errors.Join(act(ctx, c, s), c.close(ctx))
}

func act(ctx context.Context, c *client, s scenario) error {
	switch s.name {
	case "request-metadata":
		// The handshake is all, and every message counts: none is cut short.
		return c.pool.WaitReady(ctx)
	case "initialize", "json-schema-ref-no-deref":
		_, err := c.tools(ctx)
		return err
	case "tools_call":
		return c.call(ctx, "add_numbers", map[string]any{"a": 5, "b": 3})
	case "sse-retry":
		return c.call(ctx, "test_reconnection", nil)
	case "elicitation-sep1034-client-defaults":
		return c.call(ctx, "test_client_elicitation_defaults", nil, accept(map[string]any{}))
	case "sep-2322-client-request-state":
		return c.rounds(ctx)
	case "json-schema-2020-12-preservation":
		return c.echoSchema(ctx)
	case "http-standard-headers":
		return c.oneOfEach(ctx)
	case "http-custom-headers":
		return c.given(ctx, s.with.ToolCalls)
	case "http-invalid-tool-headers":
		return c.callAll(ctx)
	}
	if strings.HasPrefix(s.name, "auth/") {
		return c.call(ctx, "test-tool", nil)
	}
	return fmt.Errorf("there is nothing for it here: %w", errUnknownScenario)
}

var errUnknownScenario = errors.New("unknown scenario")

// accept answers an elicitation.
func accept(content map[string]any) mcpool.Option {
	return mcpool.WithElicitation(func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
		return &mcp.ElicitResult{Action: "accept", Content: content}, nil
	})
}

// call lists the tools, as agents do, and calls one of them.
func (c *client) call(ctx context.Context, name string, args map[string]any, opts ...mcpool.Option) error {
	tools, err := c.tools(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(tools, func(t *mcp.Tool) bool { return t.Name == name }) {
		return fmt.Errorf("the server has no tool %q", name)
	}
	return c.callTool(ctx, name, args, opts...)
}

// rounds calls tools that ask back before they answer; some of the questions are
// wrong on purpose, and those calls fail.
func (c *client) rounds(ctx context.Context) error {
	for _, name := range []string{
		"test_mrtr_echo_state", "test_mrtr_no_state", "test_mrtr_unrelated", "test_mrtr_no_result_type",
	} {
		note(name, c.callTool(ctx, name, nil, accept(map[string]any{"confirmed": true})))
	}
	return nil
}

// echoSchema sends back a schema as it came.
func (c *client) echoSchema(ctx context.Context) error {
	tools, err := c.tools(ctx)
	if err != nil {
		return err
	}
	const focal = "json_schema_2020_12_tool"
	i := slices.IndexFunc(tools, func(t *mcp.Tool) bool { return t.Name == focal })
	if i < 0 {
		return fmt.Errorf("the server has no tool %q", focal)
	}
	return c.callTool(ctx, "json_schema_echo", map[string]any{"schema": tools[i].InputSchema})
}

// oneOfEach uses the first tool, resource and prompt.
func (c *client) oneOfEach(ctx context.Context) error {
	tools, err := c.pool.ListTools(ctx)
	if err != nil {
		return err
	}
	if len(tools) > 0 {
		note(tools[0].Name, c.callTool(ctx, tools[0].Name, nil))
	}
	resources, err := c.pool.ListResources(ctx)
	if err != nil {
		return err
	}
	if len(resources) > 0 {
		_, err := c.pool.ReadResource(ctx, &mcp.ReadResourceParams{URI: resources[0].URI})
		note(resources[0].URI, err)
	}
	prompts, err := c.pool.ListPrompts(ctx)
	if err != nil {
		return err
	}
	if len(prompts) > 0 {
		_, err := c.pool.GetPrompt(ctx, &mcp.GetPromptParams{Name: prompts[0].Name})
		note(prompts[0].Name, err)
	}
	return nil
}

// given makes the calls that the scenario wants.
func (c *client) given(ctx context.Context, calls []toolCall) error {
	if _, err := c.tools(ctx); err != nil {
		return err
	}
	for _, call := range calls {
		note(call.Name, c.callTool(ctx, call.Name, call.Arguments))
	}
	return nil
}

// callAll calls every tool that is in the list.
func (c *client) callAll(ctx context.Context) error {
	tools, err := c.tools(ctx)
	if err != nil {
		return err
	}
	for _, t := range tools {
		note(t.Name, c.callTool(ctx, t.Name, map[string]any{"region": "us-west1"}))
	}
	return nil
}

// note tells of a failure that the scenario judges for itself.
func note(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "conformance: %s: %v\n", what, err)
	}
}
