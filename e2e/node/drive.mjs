// Drives an MCP endpoint with an official client.
//
// Reads {"client": "sdk" | "client", "mode": "auto" | "legacy", "steps": [...]} from standard input, with
// {"command", "args"} for a server that speaks stdio, or {"url", "client_id", "client_secret", "issuer"}
// for one that speaks HTTP, where the client gets its tokens by itself. A step is {"list": true},
// {"call": NAME, "arguments": {...}}, {"pause_ms": N} or {"repeat": N, "every_ms": N, "call": …}.
// Prints {"protocol", "server", "tokens", "steps": [...]}: for a list or a call its result, or
// {"error": {"kind", "code", "message"}} where the client raised one. It never prints a credential.

import { text } from "node:stream/consumers";
import { setTimeout as pause } from "node:timers/promises";

const asked = JSON.parse(await text(process.stdin));

async function library(name) {
  if (name === "sdk") {
    const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
    const http = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
    const stdio = await import("@modelcontextprotocol/sdk/client/stdio.js");
    const auth = await import("@modelcontextprotocol/sdk/client/auth-extensions.js");
    return { Client, ...http, ...stdio, ...auth };
  }
  const main = await import("@modelcontextprotocol/client");
  const stdio = await import("@modelcontextprotocol/client/stdio");
  return { ...main, ...stdio };
}

const described = (error) => ({
  error: {
    kind: error?.constructor?.name,
    code: error?.code ?? null,
    message: String(error?.message ?? error),
    cause: error?.cause ? String(error.cause.message ?? error.cause) : undefined,
  },
});

let tokens = 0;

function transport(library) {
  if (asked.command) {
    return new library.StdioClientTransport({ command: asked.command, args: asked.args });
  }
  class Counting extends library.ClientCredentialsProvider {
    saveTokens(given) {
      tokens += 1;
      return super.saveTokens(given);
    }
  }
  const authProvider = new Counting({
    clientId: asked.client_id,
    clientSecret: asked.client_secret,
    expectedIssuer: asked.issuer,
  });
  return new library.StreamableHTTPClientTransport(new URL(asked.url), { authProvider });
}

async function step(client, wanted) {
  if (wanted.pause_ms) {
    await pause(wanted.pause_ms);
    return {};
  }
  const once = () =>
    wanted.list
      ? client.listTools()
      : client.callTool({ name: wanted.call, arguments: wanted.arguments ?? {} });
  let answer = await once();
  for (let again = 1; again < (wanted.repeat ?? 1); again += 1) {
    await pause(wanted.every_ms ?? 0);
    answer = await once();
  }
  return answer;
}

async function drive() {
  const known = await library(asked.client);
  const options = {};
  if (asked.mode === "auto") options.versionNegotiation = { mode: "auto" };
  const client = new known.Client({ name: "e2e", version: "1" }, options);
  const wire = transport(known);
  let settled = null;
  if (asked.client === "sdk") {
    const set = wire.setProtocolVersion?.bind(wire);
    wire.setProtocolVersion = (version) => {
      settled = version;
      set?.(version);
    };
  }
  await client.connect(wire);
  const steps = [];
  for (const wanted of asked.steps) {
    steps.push(await step(client, wanted).catch(described));
  }
  const protocol = client.getNegotiatedProtocolVersion?.() ?? settled;
  const server = client.getServerVersion()?.name;
  await client.close();
  return { protocol, server, tokens, steps };
}

const answer = await drive().catch(described);
process.stdout.write(JSON.stringify(answer), () => process.exit(0));
