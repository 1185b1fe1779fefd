import { Silence, Unexplained, untilAway, utf8 } from "./base.js";

/** WHATWG HTML section 9.2. The browser reconnects by itself, with the last id; only a refusal ends it. */
export async function receive(reader, { address, signal }) {
  const source = new EventSource(address({ after: reader.cursor }));
  let silence = new Silence(reader, address({}));
  const take = ({ type, data, lastEventId }) => {
    const at = performance.now();
    const [id, epoch] = lastEventId.split("@");
    reader.received(utf8(data) + utf8(lastEventId) + (type === "message" ? 0 : type.length));
    reader.read(type === "message" ? { id: Number(id), data } : JSON.parse(data), at, epoch);
  };
  try {
    await untilAway(signal, (broke) => {
      source.onopen = () => {
        silence.end();
        reader.open();
      };
      for (const type of ["message", "json", "gap", "closing"]) source.addEventListener(type, take);
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) broke(new Unexplained("the event stream ended for good"));
        else {
          if (!silence.held) reader.broken();
          silence.end();
          silence = new Silence(reader, address({}));
        }
      };
    });
  } finally {
    silence.end();
    source.close();
  }
}
