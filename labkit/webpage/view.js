// What is shown of a page as a subscriber. Text of events is never drawn, and all else only by textContent.

import { TECHNIQUES } from "./techniques.js";

function make(tag, parent, properties = {}) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  parent.append(element);
  return element;
}

export class View {
  #rows = new Map();

  constructor(el) {
    const root = make("div", el, { className: "labkit-browser" });
    root.style.cssText = "font-size: var(--jp-ui-font-size1, 13px); line-height: 1.5; max-width: 60em";
    this.head = make("p", root, { role: "status" });
    this.advice = make("p", root);
    this.list = make("ul", root);
    this.presence = make("p", root, { role: "status" });
    this.clock = make("p", root);
    for (const p of [this.head, this.advice, this.presence, this.clock, this.list]) p.style.margin = "0";
    this.head.style.fontWeight = "bold";
  }

  draw(page) {
    put(this.head, `This page as a subscriber: ${page.offline && !page.over ? "this page has lost its network" : page.state}.`);
    put(this.advice, page.advice);
    for (const stream of page.streams.values()) {
      if (!this.#rows.has(stream.name)) this.#rows.set(stream.name, make("li", this.list));
      const state = stream.why ? `${stream.state} (${stream.why})` : stream.state;
      const last = stream.lastId === null ? "" : `, last id ${stream.lastId}`;
      const through = page.over || TECHNIQUES[stream.name].route === null ? "" : ` through ${page.through?.address.href ?? "?"}`;
      put(this.#rows.get(stream.name), `${stream.name}: ${state}${through}; ${stream.count} event${stream.count === 1 ? "" : "s"}${last}`);
    }
    put(this.presence, page.over ? "" : page.presence());
    const clock = page.clock;
    put(this.clock, clock ? `This page's times are the lab's, ± ${clock.error_ms.toFixed(2)} ms: that its clock began at another moment is taken off.` : "");
  }
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
