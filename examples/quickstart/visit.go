package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// visit looks at a server of the user's own: what it offers, and what sharing
// sessions gains there.
func visit(ctx context.Context, out show, o options, r *report) error {
	cfg := mcpool.Config{Endpoint: o.endpoint, Max: sessions}
	if o.stdio != "" {
		words := strings.Fields(o.stdio)
		if o.endpoint != "" || len(words) == 0 {
			return errors.New("give -endpoint or -stdio, not both")
		}
		cfg.Command = mcpool.Command{Path: words[0], Args: words[1:]}
	}
	pool, err := mcpool.Open(ctx, cfg)
	if err != nil {
		return err
	}
	tools, err := pool.ListTools(ctx)
	st := pool.Stats()
	if closed := pool.Close(ctx); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	out.printf("%s speaks %s over %s and has %d tools:\n", st.Name, st.Protocol, st.Transport, len(tools))
	for _, t := range tools {
		out.printf("  %s\n", t.Name)
	}
	if o.tool == "" {
		out.printf("\nGive one of them with -tool (and -args) to measure calls of it.\n")
		return nil
	}
	var args map[string]any
	if err := json.Unmarshal([]byte(o.args), &args); err != nil {
		return fmt.Errorf("-args: %w", err)
	}
	if r.Echo.Exclusive, err = measurePool(ctx, o.each, cfg, o.tool, args, true); err != nil {
		return err
	}
	if r.Echo.Shared, err = measurePool(ctx, o.each, cfg, o.tool, args, false); err != nil {
		return err
	}
	out.printf("\n%d callers, %d sessions: %.0f calls/s with a session for each call, %.0f calls/s with shared sessions\n",
		callers, sessions, r.Echo.Exclusive.CallsPerS, r.Echo.Shared.CallsPerS)
	return nil
}
