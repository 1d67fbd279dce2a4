/**
 * A real NTP server for tests: chronyd on loopback, with a port and a folder of its own, that never touches the
 * system's clock (`-x`) and ends with the test; should the test be killed, it ends by itself.
 *
 * What it serves is the system's clock, so a test knows the truth: what its own `CLOCK_REALTIME` says. `setOffset` makes
 * it wrong by so much, at once, while it states the same small dispersion: a perfect falseticker.
 *
 * Costs some 50 ms to start. It must answer a client, so it can't be told to deny all of them.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import { userInfo } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

/** It ends after this long if nobody ends it. */
const LIFE_S = 120;

/** Until it answers. */
const START_MS_MAX = 5000;

/** It is asked this often whether it is there. */
const PROBE_MS = 15;

/** Another program may take the port between finding it free and using it. */
const START_TRIES = 5;

/** How to start a {@linkcode Chronyd}. */
export interface ChronydOptions {
  /** Its stratum; `null` leaves it unsynchronised. 5 if left out. */
  readonly stratum?: number | null;
  /** Where it listens: 127.0.0.1 or `::1`; the former if left out. */
  readonly host?: string;
  /** Its port; a free one if left out. */
  readonly port?: number;
  /** Opens a command port on the same host besides the command socket: a free one, or this one. */
  readonly commandPort?: boolean | number;
  /** Further lines of its configuration: `ratelimit interval 4 burst 1 kod 1`. */
  readonly lines?: readonly string[];
}

/** A running chronyd; `await using` ends it. */
export class Chronyd {
  /** Where it listens. */
  readonly host: string;
  /** Its NTP port. */
  readonly port: number;
  /** Its command port; undefined if it has none. */
  readonly commandPort: number | undefined;
  /** Its folder, removed at the end. */
  readonly folder: string;
  readonly #child: Deno.ChildProcess;

  private constructor(
    options: ChronydOptions,
    port: number,
    commandPort: number | undefined,
    folder: string,
  ) {
    this.host = options.host ?? "127.0.0.1";
    this.port = port;
    this.commandPort = commandPort;
    this.folder = folder;
    this.#child = new Deno.Command(chronydPath ?? "chronyd", {
      args: [
        ...["-x", "-n", "-U", "-u", userInfo().username, "-t", `${LIFE_S}`],
        ...["-l", `${folder}/log`, "-f", `${folder}/chrony.conf`],
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
  }

  /** Starts one and waits until it answers. */
  static async start(options: ChronydOptions = {}): Promise<Chronyd> {
    for (let tries = 1;; tries++) {
      const folder = await Deno.makeTempDir({ prefix: "mmsb-chronyd-" });
      await Deno.chmod(folder, 0o700); // else it refuses to make its command socket
      const host = options.host ?? "127.0.0.1";
      const port = options.port ?? await freePort(host);
      const { commandPort: wanted } = options;
      const commandPort = wanted === true ? await freePort(host) : wanted || undefined;
      await Deno.writeTextFile(
        `${folder}/chrony.conf`,
        configuration(options, host, port, commandPort, folder),
      );
      const chronyd = new Chronyd(options, port, commandPort, folder);
      if (await chronyd.#answers()) return chronyd;
      const log = await Deno.readTextFile(`${folder}/log`).catch(() => "no log");
      await chronyd[Symbol.asyncDispose]();
      if (tries === START_TRIES) throw new Error(`chronyd does not start: ${log}`);
    }
  }

  /** `host:port`, as a client takes it. */
  get address(): string {
    return isIPv6(this.host) ? `[${this.host}]:${this.port}` : `${this.host}:${this.port}`;
  }

  /** Its command socket, for `chronyc -h`. */
  get commandSocket(): string {
    return `${this.folder}/chronyd.sock`;
  }

  /** Its process. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Runs `chronyc` on it and gives what that printed. */
  async chronyc(...args: string[]): Promise<string> {
    const { success, stdout } = await new Deno.Command("chronyc", {
      args: ["-n", "-h", this.commandSocket, ...args],
      stdin: "null",
      stderr: "null",
    }).output();
    const text = new TextDecoder().decode(stdout);
    if (!success) throw new Error(`chronyc ${args.join(" ")}: ${text}`);
    return text;
  }

  /**
   * Sets the time that it serves to this many seconds beside the system's clock, to a fraction of a second: as fast as `chronyc` starts. Called once: it makes
   * its time from what was set before.
   */
  async setOffset(seconds: number): Promise<void> {
    const wanted = new Date(Math.round(Date.now() / 1000 + seconds) * 1000);
    const [, day, month, year, clock] = wanted.toUTCString().split(/,? /);
    // `settime` knows whole seconds, so it is sent where the wanted time has one.
    const lateMs = wanted.getTime() - (Date.now() + seconds * 1000);
    if (lateMs > 0) await sleep(lateMs);
    await this.chronyc("settime", `${month} ${day}, ${year} ${clock}`);
  }

  /** Stops its process: it is silent until {@linkcode Chronyd.resume}. */
  pause(): void {
    this.#child.kill("SIGSTOP");
  }

  /** Lets it go on. */
  resume(): void {
    this.#child.kill("SIGCONT");
  }

  /** Ends it and removes its folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended before.
    }
    await this.#child.status;
    await Deno.remove(this.folder, { recursive: true });
  }

  /** Whether it answers before it ends. */
  async #answers(): Promise<boolean> {
    let ended = false;
    this.#child.status.then(() => ended = true);
    for (const end = performance.now() + START_MS_MAX; performance.now() < end && !ended;) {
      if (await this.#answered()) return !ended;
    }
    return false;
  }

  async #answered(): Promise<boolean> {
    const socket = createSocket(isIPv6(this.host) ? "udp6" : "udp4");
    try {
      const request = new Uint8Array(48);
      request[0] = 0x23;
      const answer = once(socket, "message", { signal: AbortSignal.timeout(PROBE_MS) });
      socket.send(request, this.port, this.host);
      await answer;
      return true;
    } catch {
      return false;
    } finally {
      socket.close();
    }
  }
}

function configuration(
  { stratum = 5, lines = [] }: ChronydOptions,
  host: string,
  port: number,
  commandPort: number | undefined,
  folder: string,
): string {
  return [
    `port ${port}`,
    `bindaddress ${host}`,
    `cmdport ${commandPort ?? 0}`,
    ...(commandPort === undefined ? [] : [`bindcmdaddress ${host}`]),
    `bindcmdaddress ${folder}/chronyd.sock`,
    `pidfile ${folder}/chronyd.pid`,
    "allow",
    "manual",
    ...(stratum === null ? [] : [`local stratum ${stratum}`]),
    ...lines,
    "",
  ].join("\n");
}

/** A UDP port that is free on a host at the moment. */
export async function freePort(host = "127.0.0.1"): Promise<number> {
  const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
  socket.bind(0, host);
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  await once(socket, "close");
  return port;
}

/** Where chronyd is; undefined where it is not installed. */
export const chronydPath: string | undefined = ["/usr/sbin/chronyd", "/usr/bin/chronyd"]
  .find((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });

/**
 * Defines a test that needs chronyd: skipped by name where there is none, a failure there under `CI=true`.
 *
 * @param name What it shows.
 * @param check The test.
 */
export function testWithChronyd(
  name: string,
  check: (test: Deno.TestContext) => Promise<void>,
): void {
  const isMissing = chronydPath === undefined;
  Deno.test({
    name: isMissing ? `${name} (skipped: there is no chronyd: apt-get install chrony)` : name,
    ignore: isMissing && Deno.env.get("CI") !== "true",
    async fn(test): Promise<void> {
      if (isMissing) throw new Error("Cannot test without chronyd: apt-get install chrony");
      await check(test);
    },
  });
}
