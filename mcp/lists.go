package mcpool

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// lists are what an identity's server offers.
type lists struct {
	id        *identity
	tools     list[*mcp.Tool]
	prompts   list[*mcp.Prompt]
	resources list[*mcp.Resource]
	templates list[*mcp.ResourceTemplate]
	schema    schemaWatch
	names     functionCache
	checks    checkCache
}

func (c *lists) init(id *identity) {
	c.id = id
	c.tools = list[*mcp.Tool]{id: id, changed: c.toolsFetched, fetch: func(ctx context.Context) ([]*mcp.Tool, error) {
		return fetchAll(ctx, id, "tools/list", func(ctx context.Context, s *mcp.ClientSession, cursor string) ([]*mcp.Tool, string, error) {
			res, err := listTools(&mcp.ListToolsParams{Cursor: cursor}).send(ctx, s, "")
			if err != nil {
				return nil, "", err
			}
			return res.Tools, res.NextCursor, nil
		})
	}}
	c.prompts = list[*mcp.Prompt]{id: id, fetch: func(ctx context.Context) ([]*mcp.Prompt, error) {
		return fetchAll(ctx, id, "prompts/list", func(ctx context.Context, s *mcp.ClientSession, cursor string) ([]*mcp.Prompt, string, error) {
			res, err := listPrompts(&mcp.ListPromptsParams{Cursor: cursor}).send(ctx, s, "")
			if err != nil {
				return nil, "", err
			}
			return res.Prompts, res.NextCursor, nil
		})
	}}
	c.resources = list[*mcp.Resource]{id: id, fetch: func(ctx context.Context) ([]*mcp.Resource, error) {
		return fetchAll(ctx, id, "resources/list", func(ctx context.Context, s *mcp.ClientSession, cursor string) ([]*mcp.Resource, string, error) {
			res, err := listResources(&mcp.ListResourcesParams{Cursor: cursor}).send(ctx, s, "")
			if err != nil {
				return nil, "", err
			}
			return res.Resources, res.NextCursor, nil
		})
	}}
	c.templates = list[*mcp.ResourceTemplate]{id: id, fetch: func(ctx context.Context) ([]*mcp.ResourceTemplate, error) {
		return fetchAll(ctx, id, "resources/templates/list", func(ctx context.Context, s *mcp.ClientSession, cursor string) ([]*mcp.ResourceTemplate, string, error) {
			res, err := listTemplates(&mcp.ListResourceTemplatesParams{Cursor: cursor}).send(ctx, s, "")
			if err != nil {
				return nil, "", err
			}
			return res.ResourceTemplates, res.NextCursor, nil
		})
	}}
}

// listTimeout bounds the fetching of one list, all pages.
const listTimeout = time.Minute

// fetchAll gets all pages of a list from one session. A server that does not know
// the method has nothing to list.
func fetchAll[T any](ctx context.Context, id *identity, method string,
	page func(ctx context.Context, s *mcp.ClientSession, cursor string) ([]T, string, error),
) ([]T, error) {
	o := &options{replay: ReplayReadOnly, timeout: listTimeout}
	items, err := doFor(ctx, id.pool, id, o, request[[]T]{
		method: method,
		send: func(ctx context.Context, s *mcp.ClientSession, _ string) (all []T, err error) {
			for item, err := range pages(func(cursor string) ([]T, string, error) { return page(ctx, s, cursor) }) {
				if err != nil {
					return nil, err
				}
				all = append(all, item)
			}
			return all, nil
		},
	})
	var rpc *jsonrpc.Error
	if errors.As(err, &rpc) && rpc.Code == jsonrpc.CodeMethodNotFound {
		return nil, nil
	}
	return items, err
}

// The page requests below go past the SDK's own caches, which serve what a
// session listed earlier and cannot be told that it has changed.

func listTools(params *mcp.ListToolsParams) request[*mcp.ListToolsResult] {
	return request[*mcp.ListToolsResult]{method: "tools/list", send: func(ctx context.Context, s *mcp.ClientSession, _ string) (*mcp.ListToolsResult, error) {
		var own mcp.ListToolsParams
		if params != nil {
			own = *params
		}
		own.Meta = cloneMeta(own.Meta, "")
		res, err := mcp.CallCustomMethod[*mcp.ListToolsParams, *mcp.ListToolsResult](ctx, s, "tools/list", &own)
		if err == nil {
			res.Tools = usable(ctx, res.Tools)
		}
		return res, err
	}}
}

func listPrompts(params *mcp.ListPromptsParams) request[*mcp.ListPromptsResult] {
	return request[*mcp.ListPromptsResult]{method: "prompts/list", send: func(ctx context.Context, s *mcp.ClientSession, _ string) (*mcp.ListPromptsResult, error) {
		var own mcp.ListPromptsParams
		if params != nil {
			own = *params
		}
		own.Meta = cloneMeta(own.Meta, "")
		return mcp.CallCustomMethod[*mcp.ListPromptsParams, *mcp.ListPromptsResult](ctx, s, "prompts/list", &own)
	}}
}

func listResources(params *mcp.ListResourcesParams) request[*mcp.ListResourcesResult] {
	return request[*mcp.ListResourcesResult]{method: "resources/list", send: func(ctx context.Context, s *mcp.ClientSession, _ string) (*mcp.ListResourcesResult, error) {
		var own mcp.ListResourcesParams
		if params != nil {
			own = *params
		}
		own.Meta = cloneMeta(own.Meta, "")
		return mcp.CallCustomMethod[*mcp.ListResourcesParams, *mcp.ListResourcesResult](ctx, s, "resources/list", &own)
	}}
}

func listTemplates(params *mcp.ListResourceTemplatesParams) request[*mcp.ListResourceTemplatesResult] {
	return request[*mcp.ListResourceTemplatesResult]{method: "resources/templates/list", send: func(ctx context.Context, s *mcp.ClientSession, _ string) (*mcp.ListResourceTemplatesResult, error) {
		var own mcp.ListResourceTemplatesParams
		if params != nil {
			own = *params
		}
		own.Meta = cloneMeta(own.Meta, "")
		return mcp.CallCustomMethod[*mcp.ListResourceTemplatesParams, *mcp.ListResourceTemplatesResult](ctx, s, "resources/templates/list", &own)
	}}
}

// ListTools returns all tools, from memory while Config.ToolsTTL lasts and nobody
// said that they changed. Otherwise they are fetched, after whatever was said before
// the call; several callers share a fetch. If they change again meanwhile, the caller
// gets what was fetched, and the next one asks again. Of the options only those that
// choose an identity count. A server without tools has an empty list.
func (p *Pool) ListTools(ctx context.Context, opts ...Option) ([]*mcp.Tool, error) {
	id, err := p.listsOf(opts)
	if err != nil {
		return nil, err
	}
	id.listen()
	return id.lists.tools.get(ctx)
}

// ListPrompts is ListTools for prompts.
func (p *Pool) ListPrompts(ctx context.Context, opts ...Option) ([]*mcp.Prompt, error) {
	id, err := p.listsOf(opts)
	if err != nil {
		return nil, err
	}
	id.listen()
	return id.lists.prompts.get(ctx)
}

// ListResources is ListTools for resources.
func (p *Pool) ListResources(ctx context.Context, opts ...Option) ([]*mcp.Resource, error) {
	id, err := p.listsOf(opts)
	if err != nil {
		return nil, err
	}
	id.listen()
	return id.lists.resources.get(ctx)
}

// ListResourceTemplates is ListTools for resource templates.
func (p *Pool) ListResourceTemplates(ctx context.Context, opts ...Option) ([]*mcp.ResourceTemplate, error) {
	id, err := p.listsOf(opts)
	if err != nil {
		return nil, err
	}
	id.listen()
	return id.lists.templates.get(ctx)
}

// InvalidateTools has the next ListTools of every identity ask the server, even
// if one is asking right now: that one is waited for, a few seconds at most, and the
// server asked again.
func (p *Pool) InvalidateTools() {
	p.def.lists.tools.invalidate()
	p.identities.Range(func(_, v any) bool {
		v.(*identity).lists.tools.invalidate() //nolint:errcheck // nothing else is in there
		return true
	})
}

func (p *Pool) listsOf(opts []Option) (*identity, error) {
	o, err := p.collect(opts)
	if err != nil {
		return nil, err
	}
	if p.ctx.Err() != nil {
		return nil, ErrClosed
	}
	return p.identityFor(o)
}

// harmless tells whether a tool says of itself that it may be called twice.
func (c *lists) harmless(ctx context.Context, name string) bool {
	tools, ok := c.tools.peek()
	if !ok {
		var err error
		if tools, err = c.tools.get(ctx); err != nil {
			return false
		}
	}
	for _, t := range tools {
		if t != nil && t.Name == name {
			return t.Annotations != nil && (t.Annotations.ReadOnlyHint || t.Annotations.IdempotentHint)
		}
	}
	return false
}

// hasTool tells whether the list that was last fetched has a tool, however old it
// is, and whether or not the server has said since that it changed.
func (c *lists) hasTool(name string) bool {
	return slices.ContainsFunc(c.tools.last(), func(t *mcp.Tool) bool { return t != nil && t.Name == name })
}

// toolsFetched looks for changes in what was fetched, be it out of date already:
// while tools keep changing there is nothing better. Sessions over HTTP from
// 2026-07-28 on know the tools themselves, so they are replaced, and that before
// anybody learns of a tool that they do not know.
func (c *lists) toolsFetched(now []*mcp.Tool, began uint64) {
	if !c.schema.update(now, began) {
		return
	}
	p := c.id.pool
	if b := p.backend.Load(); b.modern {
		b.evict(c.id, nil)
	}
	p.counts.schemaChanges.Add(1)
	p.startCallback(c.tellChanges)
}

// tellChanges tells what changed since it was last told, unless that is being done.
func (c *lists) tellChanges() {
	p := c.id.pool
	tell := func(change SchemaChange) {
		defer c.schema.told() // whatever the hook does
		change.Pool, change.Identity = p.cfg.Name, c.id.label
		p.cfg.Logger.Info("mcpool: tools changed", "pool", p.cfg.Name, "identity", c.id.label,
			"added", len(change.Added), "removed", len(change.Removed), "changed", len(change.Changed))
		if hook := p.cfg.OnSchemaChanged; hook != nil {
			p.guard("OnSchemaChanged", func() { hook(change) })
		}
	}
	for change, ok := c.schema.next(); ok; change, ok = c.schema.next() {
		tell(change)
	}
}

// toolsChanged is what a notification comes to: with somebody waiting for changes
// the list is fetched without being asked for.
func (c *lists) toolsChanged() {
	c.tools.invalidate()
	if c.id.pool.cfg.OnSchemaChanged != nil {
		c.tools.follow()
	}
}

func (c *lists) resourcesChanged() {
	c.resources.invalidate()
	c.templates.invalidate()
}
