import { HELD_BACK, Lost, Silence, Watch, ask, orLost } from "./base.js";

const SILENCE_MS = 60_000; // four heartbeats

/** RFC 6202 section 3: one response that does not end, a line of JSON for each event. */
export async function receive(reader, { address, signal, settings }) {
  const watch = new Watch(signal, SILENCE_MS);
  const silence = new Silence(reader, address({}));
  try {
    const headers = settings.accept ? { Accept: settings.accept } : {};
    const response = await ask(address({ after: reader.cursor }), watch.signal, { headers });
    reader.open();
    const pieces = response.body.getReader();
    const decoder = new TextDecoder();
    for (let rest = ""; ; ) {
      const { done, value } = await orLost(pieces.read(), "the connection was lost");
      if (done) throw new Lost("the lab ended the response");
      const at = performance.now();
      watch.alive();
      if (silence.held) reader.open();
      silence.end();
      reader.received(value.length);
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n"); // pieces are not events
      rest = lines.pop();
      for (const line of lines) if (line) reader.read(JSON.parse(line), at);
    }
  } catch (error) {
    throw silence.held ? new Lost(HELD_BACK) : error;
  } finally {
    silence.end();
    watch.end();
  }
}
