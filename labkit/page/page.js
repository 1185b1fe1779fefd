/** The page at `/`: starts every technique at one cursor, publishes, and keeps the clock of the figures honest. */

import { Arrivals, Feed } from "./feed.js";
import * as receivers from "./receivers.js";
import { tabsAgree } from "./slots.js";
import { Row, drawCommands, legible, milliseconds } from "./view.js";

const TECHNIQUES = [
  ["polling", "Interval polling", receivers.polling, {}],
  ["long-polling", "Long polling", receivers.longPolling, { held: true }],
  ["http-streaming", "HTTP streaming", receivers.httpStreaming, { held: true }],
  ["sse", "Server-Sent Events", receivers.sse, { held: true }],
  ["websocket", "WebSocket", receivers.webSocket, { hides: false }],
];
const RETRY_MS = 1000;
const STRIP_STEP_MS = 500;
const ROUND_TRIP_EVERY_MS = 1000;
const ROUND_TRIPS = 10;

const dirty = new Set();
const arrivals = new Arrivals();
const rows = TECHNIQUES.map(([name, title]) => new Row(name, title, new Feed(arrivals, changed)));
const socketFeed = rows.at(-1).feed;
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function changed(feed) {
  if (dirty.size === 0) requestAnimationFrame(draw);
  dirty.add(feed);
}

function draw() {
  for (const row of rows) if (dirty.has(row.feed)) row.draw();
  dirty.clear();
}

// -- one cursor for all, so that each technique brings the same events --

async function start() {
  for (;;) {
    try {
      const { cursor } = await (await receivers.request(receivers.address("polling"))).json();
      TECHNIQUES.forEach(([, , receive, options], index) => {
        rows[index].feed.cursor = cursor;
        receivers.keep(rows[index].feed, receive, options);
      });
      return;
    } catch (error) {
      for (const { feed } of rows) feed.say("reconnecting", String(error.message));
      await wait(RETRY_MS);
    }
  }
}

// -- publishing --

const said = document.getElementById("said");
const input = document.getElementById("data");

function say(words, bad = false) {
  said.textContent = legible(words, 300);
  said.classList.toggle("bad", bad);
}

async function post(text) {
  const headers = { "Content-Type": "text/plain; charset=utf-8" };
  const response = await receivers.request(receivers.address("events"), { method: "POST", body: text, headers });
  return (await response.json()).id;
}

async function publish(text) {
  const pressed = performance.now();
  const overSocket = socketFeed.socket !== null;
  const id = overSocket ? await socketFeed.publish(text) : await post(text);
  const epoch = overSocket ? socketFeed.epoch : rows[0].feed.epoch;
  arrivals.published(`${id}@${epoch}`, pressed);
  const way = overSocket ? "over the WebSocket" : "by POST: the WebSocket is closed";
  say(`Published as event ${id} ${way}; answered after ${milliseconds(performance.now() - pressed)}.`);
}

document.getElementById("publish").addEventListener("submit", async (event) => {
  event.preventDefault();
  input.select();
  if (input.value === "") {
    say("Not published: write something into the field first.", true);
    return;
  }
  try {
    await publish(input.value);
  } catch (error) {
    say(`Not published: ${error.message}.`, true);
  }
});

// -- which lab this is, and how far away --

/** `/browser` names the lab, then answers round trips by its own clock. */
function watchLab() {
  const socket = new WebSocket(receivers.address("browser", {}, "ws"));
  const trips = [];
  let timer;
  const ask = () => {
    if (document.visibilityState !== "hidden") socket.send(JSON.stringify({ clock: performance.now() }));
  };
  socket.onmessage = ({ data }) => {
    const now = performance.now();
    const message = JSON.parse(data);
    if ("lab" in message) {
      showLab(message.lab);
      ask();
      timer = setInterval(ask, ROUND_TRIP_EVERY_MS);
    } else if ("clock" in message) {
      trips.push(roundTrip(message, now));
      if (trips.length > ROUND_TRIPS) trips.shift();
      showClock(trips);
    }
  };
  socket.onclose = () => {
    clearInterval(timer);
    showLab(null);
    setTimeout(watchLab, RETRY_MS);
  };
}

/** One round trip less the time inside the lab, and the lab's clock less this page's, in ms. */
function roundTrip({ clock, received_ns, sent_ns }, now) {
  return {
    ms: Math.max(0, now - clock - (sent_ns - received_ns) / 1e6),
    offset: (received_ns + sent_ns) / 2e6 - (clock + now) / 2,
  };
}

let knownLab = null;

function showLab(lab) {
  const element = document.getElementById("lab");
  element.classList.toggle("bad", lab === null);
  if (lab === null) {
    element.textContent = `No lab answers at ${location.host}. Trying again every second.`;
    return;
  }
  const restarted = knownLab !== null && knownLab !== lab;
  const since = restarted ? " It has replaced an earlier one, so its ids begin again at 1." : "";
  element.textContent = `Lab ${lab} at ${location.host}.${since}`;
  knownLab = lab;
}

function showClock(trips) {
  const best = trips.reduce((a, b) => (b.ms < a.ms ? b : a));
  const ahead = `${(Math.abs(best.offset) / 1000).toFixed(3)} s ${best.offset < 0 ? "behind" : "ahead of"}`;
  document.getElementById("clock").textContent =
    `${milliseconds(best.ms)} to the lab and back, the best of the last ${trips.length}. So its clock, which is ${ahead} ` +
    `this page's, is known to ± ${milliseconds(best.ms / 2 + 0.1)}; the figures above need only this page's clock, ` +
    "which a browser lets tick in steps of about 0.1 ms.";
}

// -- the rest of the page --

document.getElementById("tabs").textContent = tabsAgree
  ? "A browser gives one host six HTTP connections over all tabs. The tabs of this page agree to hold at most five, so " +
    "publishing and polling always find one. A technique that finds none waits until another tab is closed or hidden; a " +
    "hidden tab gives its own back. A WebSocket is not one of the six."
  : "This page is not in a secure context, so its tabs cannot agree on the browser's six connections: keep one tab only.";

const base = new URL(".", document.baseURI).href;
drawCommands([
  ["Publish", `curl -d 'hello' ${base}events`],
  ["Interval polling", `curl '${base}polling?after=0'`],
  ["Long polling", `curl '${base}long-polling?timeout=30'`],
  ["HTTP streaming", `curl -N ${base}http-streaming`],
  ["… as multipart", `curl -N '${base}http-streaming?format=multipart'`],
  ["Server-Sent Events", `curl -N ${base}sse`],
  ["WebSocket", `python -m websockets ${receivers.address("websocket", {}, "ws")}`],
]);

setInterval(() => rows.forEach((row) => row.drawStrip()), STRIP_STEP_MS);
start();
watchLab();
