/**
 * A headless Chromium for tests, spoken to through its DevTools protocol: it opens pages of this machine
 * and tells every message of their consoles and every request that they make.
 *
 * The protocol runs over a socket that Chromium names on its standard error, so no port is chosen
 * here, and its profile is a folder that is gone afterwards. Chromium is kept from the network.
 */

/** A browser. */
export interface Browser {
  /** Opens a page in place of the last one. */
  open(
    address: string,
    look: { readonly scheme: "light" | "dark"; readonly width: number },
  ): Promise<OpenPage>;
  /** Ends it. */
  close(): Promise<void>;
}

/** A page. */
export interface OpenPage {
  /** Errors and warnings, and all that a script said. */
  readonly messages: readonly string[];
  /** Addresses that were asked for, the page's own among them. */
  readonly requests: readonly string[];
  /** Runs a script in the page and gives its text. */
  evaluate(script: string): Promise<string>;
}

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
  // Nothing of a page may leave the machine, whatever it asks for.
  "--host-resolver-rules=MAP * ~NOTFOUND",
  "--remote-debugging-port=0",
];

/** Names under which Chromium is installed. */
const PROGRAMS = ["chromium", "chromium-browser", "google-chrome"];

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

/** Starts Chromium; nothing where none is installed. */
export async function openBrowser(): Promise<Browser | undefined> {
  const given = Deno.env.get("CHROMIUM");
  for (const program of given === undefined ? PROGRAMS : [given]) {
    const profile = await Deno.makeTempDir({ prefix: "mmsb-chromium-" });
    try {
      const child = new Deno.Command(program, {
        args: [...FLAGS, `--user-data-dir=${profile}`, "about:blank"],
        stdin: "null",
        stdout: "null",
        stderr: "piped",
      }).spawn();
      return await connect(child, profile);
    } catch (error) {
      await Deno.remove(profile, { recursive: true });
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return undefined;
}

async function connect(child: Deno.ChildProcess, profile: string): Promise<Browser> {
  const { port } = new URL(await addressOf(child));
  const targets = await (await fetch(`http://127.0.0.1:${port}/json/list`)).json() as {
    type: string;
    webSocketDebuggerUrl: string;
  }[];
  const page = targets.find(({ type }) => type === "page")!;
  const socket = new WebSocket(page.webSocketDebuggerUrl);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  const session = new Session(socket);
  for (const domain of ["Page", "Network", "Log", "Runtime"]) {
    await session.send(`${domain}.enable`);
  }
  return {
    open: (address, look) => openPage(session, address, look),
    async close() {
      const closed = new Promise((resolve) => socket.onclose = resolve);
      socket.close();
      await closed;
      child.kill("SIGTERM");
      await child.status;
      await Deno.remove(profile, { recursive: true });
    },
  };
}

/** Reads the socket's address off the standard error, and goes on reading so that it never fills. */
async function addressOf(child: Deno.ChildProcess): Promise<string> {
  const address = Promise.withResolvers<string>();
  let said = "";
  const drained = child.stderr.pipeThrough(new TextDecoderStream()).pipeTo(
    new WritableStream({
      write(text) {
        said = (said + text).slice(-10_000);
        const found = said.match(/DevTools listening on (ws:\S+)/);
        if (found !== null) address.resolve(found[1]);
      },
    }),
  );
  drained.finally(() => address.reject(new Error(`Cannot start Chromium: ${said}`)));
  return await address.promise;
}

/** Commands and their answers by number, events to whoever listens. */
class Session {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (message: Message) => void>();
  #id = 0;
  /** Told of each event. */
  onEvent: (method: string, params: Record<string, unknown>) => void = () => {};

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      const message: Message = JSON.parse(data);
      if (message.id !== undefined) this.#waiting.get(message.id)?.(message);
      else this.onEvent(message.method!, message.params ?? {});
    };
  }

  async send(method: string, params: object = {}): Promise<Record<string, unknown>> {
    const id = ++this.#id;
    this.#socket.send(JSON.stringify({ id, method, params }));
    const { result, error } = await new Promise<Message>((resolve) => {
      this.#waiting.set(id, resolve);
    });
    this.#waiting.delete(id);
    if (error !== undefined) throw new Error(`Cannot ${method}: ${error.message}`);
    return result ?? {};
  }
}

async function openPage(
  session: Session,
  address: string,
  { scheme, width }: { readonly scheme: string; readonly width: number },
): Promise<OpenPage> {
  const messages: string[] = [];
  const requests: string[] = [];
  await session.send("Emulation.setDeviceMetricsOverride", {
    width,
    height: 900,
    deviceScaleFactor: 1,
    mobile: width < 500,
  });
  await session.send("Emulation.setEmulatedMedia", {
    features: [{ name: "prefers-color-scheme", value: scheme }],
  });
  const loaded = new Promise<void>((resolve) => {
    session.onEvent = (method, params) => {
      if (method === "Page.loadEventFired") resolve();
      if (method === "Network.requestWillBeSent") {
        requests.push((params.request as { url: string }).url);
      }
      if (
        ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"].includes(method)
      ) {
        messages.push(JSON.stringify(params));
      }
    };
  });
  await session.send("Page.navigate", { url: address });
  await loaded;
  return {
    messages,
    requests,
    async evaluate(expression) {
      const { result } = await session.send("Runtime.evaluate", {
        expression,
        returnByValue: true,
      }) as { result: { value?: string; description?: string } };
      if (result.value === undefined) throw new Error(`Cannot evaluate: ${result.description}`);
      return result.value;
    },
  };
}
