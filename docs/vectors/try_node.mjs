// Node's clients at the cases of `python -m labkit vectors`: the glue that README.md's table was made with.
//
//     node docs/vectors/try_node.mjs http://127.0.0.1:PORT >> results.jsonl
//
// Needs eventsource, undici and ws from npm, found from the working directory. One line of JSON for each client and case.

import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.cwd()}/`);
const load = async (name) => import(pathToFileURL(require.resolve(name)).href);
const { EventSource } = await load("eventsource");
const undici = await load("undici");
const ws = await load("ws");
const WS = ws.WebSocket ?? ws.default;
const fs = await import("node:fs");
const version = (name) =>
  JSON.parse(fs.readFileSync(`${process.cwd()}/node_modules/${name}/package.json`, "utf8")).version;

const AT_ONCE = 12;
const LIMIT_MS = 120_000;
const MAX_POLLS = 12;
const base = process.argv[2].replace(/\/$/, "");
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const eventStream = (Source) => (url, testCase, stop) =>
  new Promise((resolve) => {
    const events = [];
    const source = new Source(url);
    const done = () => {
      resolve({ events, readyState: source.readyState });
      source.close();
    };
    const take = (event) => {
      if (typeof event.data === "string") events.push({ type: event.type, data: event.data, lastEventId: event.lastEventId });
    };
    const types = testCase.outcomes.flatMap((outcome) => outcome.had.events.map((event) => event.type));
    for (const type of new Set([...types, "message"])) source.addEventListener(type, take);
    source.addEventListener("error", (event) => {
      if (typeof event.data !== "string" && source.readyState === 2) done();
    });
    stop.addEventListener("abort", done);
  });

const webSocket = (Socket) => (url, testCase, stop) =>
  new Promise((resolve) => {
    const messages = [];
    const socket = new Socket(url.replace(/^http/, "ws"));
    socket.binaryType = "arraybuffer";
    const { close } = testCase.does;
    socket.onmessage = ({ data }) => {
      const isText = typeof data === "string";
      messages.push(isText ? { type: "text", data } : { type: "binary", base64: Buffer.from(data).toString("base64") });
      if (close) socket.close(close.code, close.reason);
    };
    socket.onerror = () => {};
    socket.onclose = ({ code, reason, wasClean }) => resolve({ messages, close: { code, reason, clean: wasClean } });
    stop.addEventListener("abort", () => resolve({ messages, close: null }));
  });

async function longPoll(url, testCase, stop) {
  const answers = [];
  for (let count = 0; count < MAX_POLLS && !stop.aborted; count += 1) {
    try {
      const answer = await undici.fetch(url, { signal: stop });
      const body = await answer.text();
      if (answer.status === 410) break;
      if (answer.status === 200 && body) answers.push(body);
      if (answer.status >= 500) await wait(1000 * Number(answer.headers.get("Retry-After") ?? 0) + 100);
    } catch {
      await wait(100);
    }
  }
  return { answers };
}

const CLIENTS = {
  [`eventsource ${version("eventsource")}`]: ["event-stream", eventStream(EventSource)],
  [`undici EventSource ${version("undici")}`]: ["event-stream", eventStream(undici.EventSource)],
  [`undici WebSocket ${version("undici")}`]: ["websocket", webSocket(undici.WebSocket)],
  [`ws ${version("ws")}`]: ["websocket", webSocket(WS)],
  [`undici fetch ${version("undici")}`]: ["long-poll", longPoll],
};

// what a client throws where nobody can catch it belongs to the case that is under way, but not to one that is known
const thrown = [];
process.on("uncaughtException", (error) => thrown.push(String(error)));
process.on("unhandledRejection", (error) => thrown.push(String(error)));

async function tryCase(client, testCase) {
  const visit = randomUUID();
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), LIMIT_MS);
  let found;
  try {
    const had = await CLIENTS[client][1](`${base}${testCase.address}?visit=${visit}`, testCase, stop.signal);
    const body = JSON.stringify(had);
    found = await (await fetch(`${base}/cases/${testCase.name}/had?visit=${visit}`, { method: "POST", body })).json();
  } catch (error) {
    found = { right: false, differences: [{ what: "it", expected: "no error", had: String(error).slice(0, 120) }] };
  }
  clearTimeout(timer);
  console.log(JSON.stringify({ client, case: testCase.name, right: found.right, differences: found.differences.slice(0, 3) }));
}

const { cases } = await (await fetch(`${base}/cases.json`)).json();
const left = Object.keys(CLIENTS).flatMap((client) =>
  cases.filter((one) => one.kind === CLIENTS[client][0]).map((one) => [client, one]),
);
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    for (let next = left.shift(); next; next = left.shift()) await tryCase(...next);
  }),
);
for (const error of thrown) console.error(`thrown where nobody can catch it: ${error}`);
process.exit(0);
