// The list of cases, and each of them tried in this browser: EventSource, WebSocket and fetch, as they are.

const KINDS = {
  "event-stream": "Event streams: EventSource",
  websocket: "WebSocket",
  lines: "Lines: fetch",
  "long-poll": "Long polls: fetch",
  parts: "Parts: no part of a browser for pages",
};
const AT_ONCE = { "event-stream": 48, websocket: 8, lines: 4, "long-poll": 4 };
const LIMIT_MS = { true: 100_000, false: 40_000 };
const PAUSE_MS = 100;
const MAX_POLLS = 12;

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function base64(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

// What each kind of client had, once it has ended. `stop` ends it when its time is over.

function eventStream(url, testCase, stop) {
  return new Promise((resolve) => {
    const events = [];
    const source = new EventSource(url);
    const done = () => {
      resolve({ events, readyState: source.readyState });
      source.close();
    };
    const take = (event) => {
      if (!(event instanceof MessageEvent)) return;
      events.push({ type: event.type, data: event.data, lastEventId: event.lastEventId });
    };
    const types = testCase.outcomes.flatMap((outcome) => outcome.had.events.map((event) => event.type));
    for (const type of new Set([...types, "message"])) source.addEventListener(type, take);
    source.addEventListener("error", (event) => {
      if (!(event instanceof MessageEvent) && source.readyState === EventSource.CLOSED) done();
    });
    stop.addEventListener("abort", done);
  });
}

function webSocket(url, testCase, stop) {
  return new Promise((resolve) => {
    const messages = [];
    const socket = new WebSocket(url.replace(/^http/, "ws"));
    socket.binaryType = "arraybuffer";
    const { close } = testCase.does;
    socket.onmessage = ({ data }) => {
      const isText = typeof data === "string";
      messages.push(isText ? { type: "text", data } : { type: "binary", base64: base64(new Uint8Array(data)) });
      if (close) socket.close(close.code, close.reason);
    };
    socket.onclose = ({ code, reason, wasClean }) => resolve({ messages, close: { code, reason, clean: wasClean } });
    stop.addEventListener("abort", () => {
      resolve({ messages, close: null });
      socket.close();
    });
  });
}

async function lines(url, testCase, stop) {
  const values = [];
  let ended = "whole";
  try {
    const answer = await fetch(url, { cache: "no-store", signal: stop });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      const whole = (rest + read.value).split("\n");
      rest = whole.pop();
      values.push(...whole.filter((line) => line.trim()).map((line) => JSON.parse(line)));
    }
  } catch {
    ended = "cut";
  }
  return { values, ended };
}

async function longPoll(url, testCase, stop) {
  const answers = [];
  for (let count = 0; count < MAX_POLLS && !stop.aborted; count += 1) {
    try {
      const answer = await fetch(url, { cache: "no-store", signal: stop });
      const body = await answer.text();
      if (answer.status === 410) break;
      if (answer.status === 200 && body) answers.push(body);
      if (answer.status >= 500) await wait(1000 * Number(answer.headers.get("Retry-After") ?? 0) + PAUSE_MS);
    } catch {
      await wait(PAUSE_MS); // the connection was lost: the poll is asked again
    }
  }
  return { answers };
}

const CLIENTS = { "event-stream": eventStream, websocket: webSocket, lines, "long-poll": longPoll };

async function verdictOf(testCase) {
  const visit = crypto.randomUUID?.() ?? Math.random().toString(36).slice(2);
  const url = `${location.origin}${testCase.address}?visit=${visit}`;
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), LIMIT_MS[testCase.slow]);
  const had = await CLIENTS[testCase.kind](url, testCase, stop.signal);
  clearTimeout(timer);
  const body = JSON.stringify(had);
  const answer = await fetch(`/cases/${testCase.name}/had?visit=${visit}`, { method: "POST", body });
  return answer.json();
}

// The page.

const byId = (id) => document.getElementById(id);
const rows = new Map();
let cases = [];

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function table(kind, title) {
  const body = element("tbody");
  for (const testCase of cases.filter((one) => one.kind === kind)) {
    const link = element("a", { href: `${testCase.address}/about` }, testCase.name);
    const verdict = element("td", { className: "verdict" });
    const row = element(
      "tr", {},
      element("th", { scope: "row" }, link),
      element("td", {}, `${testCase.about} `, element("span", { className: "clause" }, testCase.clause)),
      verdict,
    );
    rows.set(testCase.name, { row, verdict });
    body.append(row);
  }
  const heads = ["Case", "What is awkward", "This browser"].map((text) => element("th", { scope: "col" }, text));
  const whole = element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body);
  byId("cases").append(element("h2", {}, title), element("div", { className: "scroll" }, whole));
}

const brief = (value) => {
  const text = JSON.stringify(value);
  return text?.length > 80 ? `${text.slice(0, 80)}...` : String(text);
};

function show(testCase, found) {
  const { row, verdict } = rows.get(testCase.name);
  const [first, ...more] = found.differences;
  const text = first ? `wrong: ${first.what} is ${brief(first.had)}, not ${brief(first.expected)}` : "right";
  verdict.textContent = `${text}${more.length ? `; ${more.length} more` : ""}${found.why ? `. ${found.why}` : ""}`;
  verdict.className = `verdict ${found.right ? "right" : "wrong"}`;
  row.dataset.right = found.right;
}

async function tryAll() {
  byId("try").disabled = true;
  const slow = byId("slow").checked;
  const results = (window.results = {});
  const chosen = cases.filter((one) => one.kind in CLIENTS && (slow || !one.slow));
  const tell = (end) => {
    const all = Object.values(results);
    const right = all.filter((found) => found.right).length;
    byId("outcome").textContent = `${all.length} of ${chosen.length} tried: ${right} right, ${all.length - right} wrong${end}`;
  };
  const workers = Object.keys(AT_ONCE).flatMap((kind) => {
    const left = chosen.filter((one) => one.kind === kind);
    return Array.from({ length: AT_ONCE[kind] }, async () => {
      for (let next = left.shift(); next; next = left.shift()) {
        const began = performance.now();
        results[next.name] = await verdictOf(next);
        results[next.name].ms = Math.round(performance.now() - began);
        show(next, results[next.name]);
        tell("");
      }
    });
  });
  await Promise.all(workers);
  tell(".");
  byId("try").disabled = false;
  document.body.dataset.tried = chosen.length;
}

byId("wrong").addEventListener("change", ({ target }) => {
  for (const { row } of rows.values()) row.hidden = target.checked && row.dataset.right !== "false";
});
byId("try").addEventListener("click", tryAll);
byId("how").textContent = [
  `curl -N "${location.origin}/event-stream/crlf?visit=mine"`,
  `curl -d '{"events": [{"data": "one\\ntwo"}, {"data": "three"}], "comesBack": false}' "${location.origin}/cases/crlf/had?visit=mine"`,
  `curl "${location.origin}/cases/crlf/seen.json?visit=mine"`,
].join("\n");
({ cases } = await (await fetch("/cases.json")).json());
for (const [kind, title] of Object.entries(KINDS)) table(kind, title);
byId("try").disabled = false;
