/**
 * How to open a `SntpClock`, and the checks of it.
 *
 * There are no servers by default. RFC 8633 section 4 asks makers not to build servers of others into what they
 * distribute, and the pool gives zones of their own to those who do: who runs the program names the servers, best those of
 * his own network or of his cloud, and at least four so that one that is wrong can be told (RFC 8633 section 3.2).
 */
import {
  checkInteger,
  checkIterable,
  checkKeys,
  checkNumber,
  checkType,
} from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import { isIPv6 } from "./_ip_address.ts";
import { SNTP_PORT } from "./sntp_packet.ts";

/** Most servers of one client: RFC 8633 finds more than ten of no use. */
export const SNTP_SERVERS_MAX = 16;

/** A server's place. */
export interface SntpServerPlace {
  /** Name or numeric address. */
  readonly host: string;
  /** Port; 123 if left out. */
  readonly port?: number;
}

/** How to open a {@linkcode SntpClock}. */
export interface SntpClockOptions {
  /** Whom to ask: `"time.example"`, `"10.0.0.1:1123"`, `"[::1]:1123"`, `{ host, port }`. One at least, 16 at most, each once. */
  readonly servers: readonly (string | SntpServerPlace)[];
  /** Name of the source; `sntp` and the servers if left out. */
  readonly name?: string;
  /** Questions a sync to each server, 1 to 8; 4 if left out. */
  readonly samples?: number;
  /** Between two of them, ms, 0 to 50; 8 if left out. Where answers come sooner it is eight round trips. */
  readonly gapMs?: number;
  /** How long to wait for an answer, ms, 10 to 10,000; 1,000 if left out. */
  readonly timeoutMs?: number;
  /** Shortest time between two syncs, s, 1 to 131,072; 16 if left out. RFC 4330 asks for 15 at least with servers of others. */
  readonly pollMinS?: number;
  /** Longest time between two syncs, s; 1,024 if left out. */
  readonly pollMaxS?: number;
  /** How wrong the oscillator may run while that is not measured, ppm, 1 to 1,000; 50 if left out. */
  readonly unknownDriftPpm?: number;
  /** Servers that say that they may be more wrong are refused, ms; 1,500 if left out, as in RFC 5905. */
  readonly rootDistanceMsMax?: number;
}

/** Options with nothing left out. */
export type SntpClockSettings =
  & Required<Omit<SntpClockOptions, "servers">>
  & { readonly servers: readonly Required<SntpServerPlace>[] };

const KEYS = [
  "servers",
  "name",
  "samples",
  "gapMs",
  "timeoutMs",
  "pollMinS",
  "pollMaxS",
  "unknownDriftPpm",
  "rootDistanceMsMax",
];

/**
 * Checks the options.
 *
 * @param options As the caller gave them.
 * @returns All of them.
 * @throws {MmsbError} `usage` if one is wrong or there is no server, `limit` if there are too many.
 */
export function sntpSettings(options: SntpClockOptions): SntpClockSettings {
  checkType("options of SntpClock", options, "object");
  checkKeys("SntpClock", options, KEYS);
  const servers = placesOf(options.servers);
  const pollMinS = checkNumber("pollMinS", options.pollMinS ?? 16, 1, 131_072, "usage");
  return {
    servers,
    name: checkType("name", options.name ?? nameOf(servers), "string"),
    samples: checkInteger("samples", options.samples ?? 4, 1, 8, "usage"),
    gapMs: checkNumber("gapMs", options.gapMs ?? 8, 0, 50, "usage"),
    timeoutMs: checkNumber("timeoutMs", options.timeoutMs ?? 1000, 10, 10_000, "usage"),
    pollMinS,
    pollMaxS: checkNumber(
      "pollMaxS",
      options.pollMaxS ?? Math.max(1024, pollMinS),
      pollMinS,
      131_072,
      "usage",
    ),
    unknownDriftPpm: checkNumber(
      "unknownDriftPpm",
      options.unknownDriftPpm ?? 50,
      1,
      1000,
      "usage",
    ),
    rootDistanceMsMax: checkNumber(
      "rootDistanceMsMax",
      options.rootDistanceMsMax ?? 1500,
      0,
      60_000,
      "usage",
    ),
  };
}

/** Refuses a string where servers are to be listed: it has letters to go through, which are none. */
export function requireNoText(name: string, servers: Iterable<unknown>): void {
  if (typeof servers !== "string") return;
  throw new MmsbError(
    "usage",
    `Cannot use ${JSON.stringify(servers)} as ${name}: give an array of servers`,
    { values: { [name]: servers } },
  );
}

function placesOf(servers: SntpClockOptions["servers"]): readonly Required<SntpServerPlace>[] {
  requireNoText("servers", servers);
  const places = [...checkIterable("servers", servers)].map(placeOf);
  if (places.length === 0) {
    throw new MmsbError(
      "usage",
      "Cannot ask for the time without servers: name some, best those of your own network or cloud",
    );
  }
  if (places.length > SNTP_SERVERS_MAX) {
    throw new MmsbError(
      "limit",
      `Cannot ask ${places.length} servers: name at most ${SNTP_SERVERS_MAX}`,
      { values: { count: places.length, max: SNTP_SERVERS_MAX } },
    );
  }
  const seen = new Set<string>();
  for (const { host, port } of places) {
    const key = `${host.toLowerCase()} ${port}`;
    if (seen.has(key)) {
      throw new MmsbError("usage", `Cannot ask ${host} port ${port} twice: its word counts once`);
    }
    seen.add(key);
  }
  return places;
}

function placeOf(server: string | SntpServerPlace): Required<SntpServerPlace> {
  if (typeof server === "string") return parsed(server);
  checkType("server", server, "object");
  checkKeys("a server", server, ["host", "port"]);
  const host = checkHost(checkType("host", server.host, "string"), server.host);
  return { host, port: checkInteger("port", server.port ?? SNTP_PORT, 1, 65_535, "usage") };
}

/** `host`, `host:port`, `[v6]`, `[v6]:port`, and a bare IPv6 address. */
function parsed(text: string): Required<SntpServerPlace> {
  if (isIPv6(text)) return { host: text, port: SNTP_PORT };
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text);
  const port = match?.[3] === undefined ? SNTP_PORT : Number(match[3]);
  if (match === null || port < 1 || port > 65_535 || match[1] !== undefined && !isIPv6(match[1])) {
    throw refusedHost(text);
  }
  return { host: checkHost(match[1] ?? match[2], text), port };
}

function checkHost(host: string, given: string): string {
  if (isIPv6(host) || /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})$/.test(host)) return host;
  throw refusedHost(given);
}

function refusedHost(given: string): MmsbError {
  return new MmsbError(
    "usage",
    `Cannot use ${
      JSON.stringify(given.slice(0, 80))
    } as a server: give "host", "host:port" or "[IPv6]:port"`,
    { values: { server: given } },
  );
}

function nameOf([{ host, port }, ...others]: readonly Required<SntpServerPlace>[]): string {
  const first = port === SNTP_PORT ? host : `${host}:${port}`;
  return others.length === 0 ? `sntp ${first}` : `sntp ${first} and ${others.length} more`;
}
