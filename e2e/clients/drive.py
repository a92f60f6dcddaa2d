"""Drives an MCP endpoint with the official client.

Reads {"url", "token", "mode", "steps": [...]} from standard input, or {"command", "args", "mode",
"steps"} for a server that speaks stdio; a step is {"list": true} or
{"call": NAME, "arguments": {...}}. Prints {"protocol", "server", "steps": [...]}: for a list, the
tools; for a call, its result; for either, {"error": {"code", "message"}} where the client raised one.
It never prints the token.
"""

import asyncio
import json
import sys

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


def innermost(error):
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return error


def described(error):
    error = innermost(error)
    inner = getattr(error, "error", None)
    return {
        "error": {
            "kind": type(error).__name__,
            "code": getattr(inner, "code", None),
            "message": str(error),
        }
    }


async def step(client, wanted):
    try:
        if wanted.get("list"):
            answer = await client.list_tools()
        else:
            answer = await client.call_tool(wanted["call"], wanted.get("arguments", {}))
    except Exception as error:
        return described(error)
    return answer.model_dump(mode="json", by_alias=True, exclude_none=True)


async def driven(server, asked):
    async with Client(server, mode=asked["mode"]) as client:
        return {
            "protocol": str(client.protocol_version),
            "server": client.server_info.name,
            "steps": [await step(client, wanted) for wanted in asked["steps"]],
        }


async def drive(asked):
    if "command" in asked:
        server = StdioServerParameters(command=asked["command"], args=asked["args"])
        return await driven(server, asked)
    headers = {"Authorization": f"Bearer {asked['token']}"}
    async with httpx2.AsyncClient(headers=headers, trust_env=False) as http:
        transport = streamable_http_client(asked["url"], http_client=http)
        return await driven(transport, asked)


def main():
    asked = json.load(sys.stdin)
    try:
        answer = asyncio.run(drive(asked))
    except Exception as error:
        answer = described(error)
    json.dump(answer, sys.stdout)


main()
