package mcpool

import (
	"context"
	"net/http"
	"net/textproto"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/core"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

// carried asks a hook what goes with the call. Over HTTP it is sent as headers, but
// for those that may not be set, which includes those with credentials: identities
// are not formed here.
func (c *call) carried(ctx context.Context, hook func(context.Context, func(name, value string))) {
	p := c.conn.id.pool
	var header http.Header
	p.guard("Carry", func() {
		hook(ctx, func(name, value string) {
			if c.carry == nil {
				c.carry = make(map[string]string, 2)
			}
			c.carry[name] = value
			if c.live == nil {
				return // there are no headers
			}
			key := textproto.CanonicalMIMEHeaderKey(name)
			one := http.Header{key: {value}}
			if _, there := c.header[key]; there || p.hasCredentials(one) || auth.CheckHeader(one) != nil {
				return
			}
			if header == nil {
				header = c.header.Clone() // the options are shared between attempts
				if header == nil {
					header = make(http.Header, 2)
				}
			}
			header[key] = []string{value}
		})
	})
	if header != nil {
		c.header = header
	}
}

// carryMeta adds what the call carries to the _meta of a request, whose params are
// this attempt's own.
func carryMeta(ctx context.Context, req mcp.Request) {
	c := callOf(ctx)
	if c == nil || len(c.carry) == 0 {
		return
	}
	params := req.GetParams()
	if params == nil {
		return
	}
	meta := params.GetMeta()
	if meta == nil {
		meta = make(map[string]any, len(c.carry))
	}
	for name, value := range c.carry {
		if _, there := meta[name]; !there {
			meta[name] = value
		}
	}
	params.SetMeta(meta)
}

// JoinHooks returns hooks that call all the given ones, as core.JoinHooks does:
// start hooks in the order given, each with the context that the one before made,
// end hooks in the reverse order.
func JoinHooks(hooks ...Hooks) Hooks {
	var all Hooks
	for _, h := range hooks {
		all = Hooks{
			Core:      core.JoinHooks(all.Core, h.Core),
			CallStart: joinStart(all.CallStart, h.CallStart),
			CallEnd:   joinEnd(h.CallEnd, all.CallEnd),
			Carry:     joinCarry(all.Carry, h.Carry),
		}
	}
	return all
}

func joinStart(a, b func(context.Context, CallStart) context.Context) func(context.Context, CallStart) context.Context {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	return func(ctx context.Context, e CallStart) (made context.Context) {
		made = ctx
		defer func() { // even if a panics
			if next := b(made, e); next != nil {
				made = next
			}
		}()
		if next := a(ctx, e); next != nil {
			made = next
		}
		return made
	}
}

// joinEnd calls first, and then the other even if it panics.
func joinEnd(first, then func(context.Context, CallEnd)) func(context.Context, CallEnd) {
	if first == nil || then == nil {
		if first == nil {
			return then
		}
		return first
	}
	return func(ctx context.Context, e CallEnd) {
		defer then(ctx, e)
		first(ctx, e)
	}
}

func joinCarry(a, b func(context.Context, func(name, value string))) func(context.Context, func(name, value string)) {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	return func(ctx context.Context, set func(name, value string)) {
		defer b(ctx, set)
		a(ctx, set)
	}
}
