// Where the lab is: at its own port, or behind the Jupyter server's proxy; or why not, as advice.

const PORT_MS = 1000; // to answer on the port itself
const PROXY_MS = 5000;

/** The Jupyter server's base_url: from JupyterLab and Notebook 7, or from the classic notebook; null elsewhere. */
function baseUrl() {
  try {
    return JSON.parse(document.getElementById("jupyter-config-data").textContent).baseUrl ?? null;
  } catch {
    return document.body?.dataset?.baseUrl ?? null;
  }
}

const atPort = (scheme) => (port) => new URL(`${scheme}://127.0.0.1:${port}/`);
const atProxy = (base, port) => new URL(`${base.replace(/\/?$/, "/")}proxy/${port}/`, location.origin);

/** A route below an address, with a query; `scheme` "ws" for a WebSocket. */
export function under(address, route, { scheme = "", ...query }) {
  const url = new URL(route, address);
  for (const [name, value] of Object.entries(query)) if (value != null && value !== "") url.searchParams.set(name, value);
  if (scheme) return url.href.replace(/^http/, scheme);
  // a JupyterHub asks for it, even for a GET, and an EventSource has no headers to put it into
  const xsrf = document.cookie.match(/\b_xsrf=([^;]*)/)?.[1];
  if (url.origin === location.origin && xsrf) url.searchParams.set("_xsrf", decodeURIComponent(xsrf));
  return url.href;
}

/** The token as a subprotocol: jupyter-server-proxy writes the addresses of WebSockets into its log. */
export const protocols = (token) => ["labkit", token];

/** Open /browser there: resolves to the socket if it answers as this lab, else to the reason why not. */
function reach(address, token, labId, limit_ms) {
  return new Promise((resolve) => {
    let socket;
    const end = (found) => {
      clearTimeout(timer);
      if (found !== socket) socket?.close();
      if (socket) socket.onmessage = socket.onclose = null;
      resolve(found);
    };
    const timer = setTimeout(() => end("no answer in time"), limit_ms);
    try {
      socket = new WebSocket(under(address, "browser", { scheme: "ws" }), protocols(token));
    } catch {
      return end("this page may not open a WebSocket there");
    }
    socket.onclose = () => end("no connection");
    socket.onmessage = ({ data }) => {
      try {
        end(JSON.parse(data).lab === labId ? socket : "another lab answers there");
      } catch {
        end("something else answers there");
      }
    };
  });
}

/** Why the Jupyter server's proxy does not lead to the lab, as advice. */
async function proxyTrouble(address, token) {
  try {
    const answer = await fetch(under(address, "", { token }), { cache: "no-store" });
    if (answer.status === 404) return "The Jupyter server has no jupyter-server-proxy: install it there (pip install jupyter-server-proxy) and restart the Jupyter server.";
    if (answer.status === 403) return `jupyter-server-proxy answers 403: ${(await answer.text()).trim().slice(0, 160)}`;
    if (answer.status >= 500) return "jupyter-server-proxy is there but cannot reach the lab: is the kernel on another machine than the Jupyter server, or the lab closed?";
    return "jupyter-server-proxy is there, but lets no WebSocket through: something before it stops them.";
  } catch {
    return "The Jupyter server does not answer.";
  }
}

/** A browser does not tell a page that it disbelieves a certificate: to a page that is no connection. */
const believe = (url) => `The lab speaks TLS, by a certificate of its own authority, which this browser may not believe: open ${url} in another tab, go on past the warning, and this page attaches within seconds. Or let the browser trust lab.cafile.`;
const NO_PROXY = "jupyter-server-proxy speaks no TLS to a lab: where this page is on another machine, attach it to a lab without tls=True.";

const ALLOW = "Or let this page reach your own machine: allow local network access for it in the site settings of the browser.";

export async function find(settings) {
  const { scheme, port, token, lab_id: labId, via } = settings;
  const secure = scheme === "https";
  const base = baseUrl();
  const tried = [];
  if (via !== "proxy") {
    const address = atPort(scheme);
    const found = await reach(address(port), token, labId, PORT_MS);
    if (found instanceof WebSocket) return { socket: found, through: "port", address };
    tried.push(`127.0.0.1:${port}: ${found}.`);
    if (secure) tried.push(believe(address(port).href));
  }
  if (secure) tried.push(NO_PROXY);
  else if (via !== "port" && base !== null) {
    const address = (port_) => atProxy(base, port_);
    const found = await reach(address(port), token, labId, PROXY_MS);
    if (found instanceof WebSocket) return { socket: found, through: "proxy", address };
    tried.push(`${address(port).pathname}: ${found}. ${await proxyTrouble(address(port), token)}`);
  }
  if (base === null && !secure) {
    tried.push("This page is not served by a Jupyter server (VS Code, Colab and the like), so only a lab on this very machine can be reached. JupyterLab or Notebook 7 with jupyter-server-proxy reach one anywhere.");
  }
  return { advice: [...tried, ...(via !== "proxy" ? [ALLOW] : [])].join(" ") };
}
