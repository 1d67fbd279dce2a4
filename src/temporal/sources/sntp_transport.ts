/**
 * How questions travel: what an SNTP client needs of the network, and the real one over `node:dgram`.
 *
 * Each question has a socket of its own, so a port of its own, which the system chooses at random: who wants to forge an
 * answer has to guess it besides the 64 bits of the question (RFC 9109). The runtime's connected sockets also take
 * datagrams of others, so sender and port are compared here. It does not report that a port is closed: such a server is
 * silent.
 *
 * The counter is read just before the datagram is handed to the system and as the first thing when one has arrived. What
 * the event loop adds on both ways is part of the delay that is measured, and so of the bound.
 *
 * Cost: a socket a question, some 100 µs, and 64 KB of the runtime that are garbage afterwards.
 */
import type { RemoteInfo, Socket } from "node:dgram";
import { clearTimeout, setTimeout } from "node:timers";
import { reasonOf } from "../../base/errors.ts";
import { isIPv6 } from "./_ip_address.ts";
import { isGranted } from "./_platform.ts";
import type { SteadyCounter } from "./clock_source.ts";

/** A name's addresses, or why there are none. */
export type SntpResolved =
  | { readonly addresses: readonly string[] }
  | { readonly reason: string };

/** One question on its way. */
export interface SntpAsk {
  /** The server's address, numeric. */
  readonly address: string;
  /** Its port. */
  readonly port: number;
  /** The datagram. */
  readonly request: Uint8Array;
  /** How long to wait. */
  readonly timeoutMs: number;
  /** Ends the wait. */
  readonly signal: AbortSignal;
  /** Called with the counter just before the datagram leaves. */
  sent(steadyNs: number): void;
  /**
   * Called with each datagram that comes back from that address and port, and the counter when it came.
   *
   * @returns Whether it is the answer: nothing more is waited for.
   */
  arrived(datagram: Uint8Array, steadyNs: number): boolean;
}

/** The network as an SNTP client sees it; a test gives its own. */
export interface SntpTransport {
  /** Finds the addresses of a name. Never rejects. */
  resolve(host: string): Promise<SntpResolved>;
  /**
   * Sends a question and waits for its answer. Never rejects.
   *
   * @returns Why there is no answer; undefined if there was one.
   */
  ask(ask: SntpAsk): Promise<string | undefined>;
}

/** The real network. Never asks for a permission: without it, each question says which one is missing. */
export class UdpTransport implements SntpTransport {
  readonly #counter: SteadyCounter;

  /**
   * Opens nothing yet.
   *
   * @param counter The clock of T1 and T4.
   */
  constructor(counter: SteadyCounter) {
    this.#counter = counter;
  }

  /** See {@linkcode SntpTransport.resolve}. */
  async resolve(host: string): Promise<SntpResolved> {
    try {
      if (!isGranted({ name: "net", host })) {
        return {
          reason: `its address may not be looked up: grant --allow-net, or --allow-net=${host}`,
        };
      }
      const { lookup } = await import("node:dns/promises");
      const found = await lookup(host, { all: true });
      return { addresses: found.map(({ address }) => address) };
    } catch (error) {
      return { reason: `the name ${host} has no address: ${reasonOf(error)}` };
    }
  }

  /** See {@linkcode SntpTransport.ask}. */
  async ask(ask: SntpAsk): Promise<string | undefined> {
    const reason = permissionFault(ask);
    if (reason !== undefined) return reason;
    // Loaded when first used: it takes some 20 ms.
    const { createSocket } = await import("node:dgram");
    if (ask.signal.aborted) return "it was slower than the others";
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    const socket = createSocket(isIPv6(ask.address) ? "udp6" : "udp4");
    const timeout = setTimeout(() => end("silent"), ask.timeoutMs);
    const giveUp = () => end("it was slower than the others");
    let isDone = false;
    function end(reason?: string): void {
      if (isDone) return;
      isDone = true;
      clearTimeout(timeout);
      ask.signal.removeEventListener("abort", giveUp);
      socket.close(() => resolve(reason));
    }
    ask.signal.addEventListener("abort", giveUp);
    const expected = canonical(ask.address);
    socket.on("message", (datagram, from) => {
      const arrivedNs = this.#counter.nowNs();
      if (!isDone && isFrom(from, expected, ask.port) && ask.arrived(datagram, arrivedNs)) end();
    });
    socket.on("error", (error) => end(reasonOf(error)));
    try {
      socket.bind(0, () => this.#send(socket, ask, end));
    } catch (error) {
      end(reasonOf(error));
    }
    return await promise;
  }

  #send(socket: Socket, ask: SntpAsk, end: (reason: string) => void): void {
    try {
      ask.sent(this.#counter.nowNs());
      socket.send(ask.request, ask.port, ask.address, (error) => {
        if (error) end(`nothing can be sent to ${ask.address}: ${reasonOf(error)}`);
      });
    } catch (error) {
      end(reasonOf(error));
    }
  }
}

/** Asked before a socket is made: without a permission, the runtime throws where nobody can catch it. */
function permissionFault({ address, port }: SntpAsk): string | undefined {
  const server = isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
  const own = isIPv6(address) ? "[::]:0" : "0.0.0.0:0"; // where the runtime binds the socket
  try {
    for (const host of [server, own]) {
      if (!isGranted({ name: "net", host })) {
        return `it may not be asked: grant --allow-net, or --allow-net=${server},${own}`;
      }
    }
  } catch (error) {
    return `${server} is no address to ask: ${reasonOf(error)}`; // a zone the runtime does not know
  }
  return undefined;
}

function isFrom(from: RemoteInfo, address: string, port: number): boolean {
  return from.port === port && canonical(from.address) === address;
}

/** One form of an address: IPv6 has many. */
function canonical(address: string): string {
  if (!isIPv6(address)) return address;
  const bare = address.split("%")[0];
  return URL.parse(`http://[${bare}]/`)?.hostname ?? bare;
}
