"""A server of the Python SDK, with what the tests of this folder use.

server.py stdio
server.py http PORT
server.py sse PORT
"""

import asyncio
import sys

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.types import SamplingMessage, TextContent, ToolAnnotations
from pydantic import BaseModel



def page(params, result, field):
    """Leave one page of two of what was listed."""
    items, at = getattr(result, field), int(params.cursor) if params and params.cursor else 0
    more = str(at + 2) if len(items) > at + 2 else None
    return result.model_copy(update={field: items[at : at + 2], "next_cursor": more})


class Paging(MCPServer):
    """MCPServer lists everything at once, which leaves nothing to be followed."""

    async def _handle_list_tools(self, ctx, params):
        return page(params, await super()._handle_list_tools(ctx, params), "tools")

    async def _handle_list_prompts(self, ctx, params):
        return page(params, await super()._handle_list_prompts(ctx, params), "prompts")

    async def _handle_list_resources(self, ctx, params):
        return page(params, await super()._handle_list_resources(ctx, params), "resources")

    async def _handle_list_resource_templates(self, ctx, params):
        return page(params, await super()._handle_list_resource_templates(ctx, params), "resource_templates")


server = Paging("python-peer", log_level="ERROR")
READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True)


@server.tool(annotations=READ_ONLY)
def echo(message: str) -> str:
    return "Echo: " + message


@server.tool(annotations=READ_ONLY)
async def slow(ctx: Context, duration: float, steps: int) -> str:
    for step in range(1, steps + 1):
        await asyncio.sleep(duration / steps)
        await ctx.report_progress(step, steps)
    return "completed"


class Answer(BaseModel):
    name: str


@server.tool()
async def ask(ctx: Context) -> str:
    answer = await ctx.elicit("who are you?", Answer)
    return f"{answer.action}: {answer.data.name}" if answer.action == "accept" else answer.action


@server.tool()
async def think(ctx: Context, prompt: str) -> str:
    question = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
    answer = await ctx.session.create_message([question], max_tokens=10)
    return answer.content.text


@server.tool()
async def grow(ctx: Context, name: str) -> str:
    """Add a tool, and say so on the streams of both eras."""
    server.add_tool(lambda: name, name=name, description="grown")
    await ctx.notify_tools_changed()
    if (ctx.protocol_version or "") < "2026":
        await ctx.session.send_tool_list_changed()
    return "grown"


@server.tool()
async def touch(ctx: Context, uri: str) -> str:
    await ctx.notify_resource_updated(uri)
    return "touched"


@server.prompt()
def greet() -> str:
    return "hello"


@server.prompt()
def part() -> str:
    return "goodbye"


@server.prompt()
def thank() -> str:
    return "thank you"


@server.resource("peer://fact")
def fact() -> str:
    return "a fact"


@server.resource("peer://another")
def another() -> str:
    return "another fact"


@server.resource("peer://third")
def third() -> str:
    return "a third fact"


@server.resource("peer://{name}/fact")
def fact_of(name: str) -> str:
    return "a fact of " + name


@server.resource("peer://{name}/wish")
def wish_of(name: str) -> str:
    return "a wish of " + name


@server.resource("peer://{name}/fear")
def fear_of(name: str) -> str:
    return "a fear of " + name


if sys.argv[1] == "stdio":
    server.run("stdio")
else:
    way = {"http": "streamable-http", "sse": "sse"}[sys.argv[1]]
    server.run(way, host="127.0.0.1", port=int(sys.argv[2]))
