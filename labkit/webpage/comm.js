// The widget's own comm as a technique: the kernel sends events in custom messages.

import { untilAway } from "./base.js";

export const held = false;
export const pauses = false;

export async function receive(reader, { signal, model }) {
  const take = (message) => {
    const at = performance.now();
    for (const item of message?.events ?? []) reader.event(item, item.cursor, at);
  };
  reader.open("the notebook's own connection");
  model.on("msg:custom", take);
  await untilAway(signal, () => {}).finally(() => model.off("msg:custom", take));
}
