/** An NTP server of a test's own on loopback, which answers as the test says: with lies, late, twice, from elsewhere. */
import { Buffer } from "node:buffer";
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type NtpAnswer, ntpAnswer } from "./ntp_answer.ts";

/** The system's clock, Unix ns. */
export function systemNs(): bigint {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6));
}

/** An honest answer, changed in some fields. */
export function honest(request: Uint8Array, changes: Partial<NtpAnswer> = {}): Uint8Array {
  const nowNs = systemNs();
  return ntpAnswer(request, { receiveNs: nowNs, transmitNs: nowNs, ...changes });
}

/** What a responder does with a question. */
export type Answering = (
  request: Uint8Array,
  send: (datagram: Uint8Array) => void,
  from: RemoteInfo,
) => void | Promise<void>;

/** A responder; `await using` ends it. */
export class Responder {
  /** Questions that came. */
  asked = 0;
  /** Ports that they came from. */
  readonly ports: Set<number> = new Set();
  readonly host: string;
  readonly #socket: Socket;

  private constructor(socket: Socket, host: string) {
    this.#socket = socket;
    this.host = host;
  }

  /** Opens one. */
  static async open(answer: Answering, host = "127.0.0.1"): Promise<Responder> {
    const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
    const responder = new Responder(socket, host);
    socket.on("message", (request, from) => {
      responder.asked++;
      responder.ports.add(from.port);
      answer(request, (datagram) => {
        try {
          socket.send(Buffer.from(datagram), from.port, from.address);
        } catch {
          // It was closed before a late answer.
        }
      }, from);
    });
    socket.bind(0, host);
    await once(socket, "listening");
    return responder;
  }

  /** Its port. */
  get port(): number {
    return this.#socket.address().port;
  }

  /** `host:port`. */
  get address(): string {
    return isIPv6(this.host) ? `[${this.host}]:${this.port}` : `${this.host}:${this.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }
}

/** How a relay treats datagrams. */
export interface RelayPath {
  /** Added on the way there, ms. */
  readonly thereMs: number;
  /** Added on the way back, ms. */
  readonly backMs: number;
  /** Up to this much more each way, drawn: datagrams overtake each other. */
  readonly jitterMs?: number;
  /** Part that is lost, each way. */
  readonly loss?: number;
}

/** A relay between a client and a server on loopback; `await using` ends it. */
export class Relay {
  readonly #responder: Responder;
  readonly #late: Set<Promise<void>>;
  readonly #sockets: Set<Socket>;

  private constructor(responder: Responder, late: Set<Promise<void>>, sockets: Set<Socket>) {
    this.#responder = responder;
    this.#late = late;
    this.#sockets = sockets;
  }

  /** Opens one to a port on 127.0.0.1. */
  static async open(target: number, path: RelayPath, chance: () => number): Promise<Relay> {
    const late = new Set<Promise<void>>();
    const sockets = new Set<Socket>();
    const { thereMs, backMs, jitterMs = 0, loss = 0 } = path;
    const responder = await Responder.open((request, send) => {
      const relayed = relay(Uint8Array.from(request), send);
      late.add(relayed);
      relayed.finally(() => late.delete(relayed));
    });
    async function relay(request: Uint8Array, send: (bytes: Uint8Array) => void): Promise<void> {
      if (chance() < loss) return;
      await sleep(thereMs + jitterMs * chance());
      const socket = createSocket("udp4");
      sockets.add(socket);
      try {
        const answer = once(socket, "message", { signal: AbortSignal.timeout(500) });
        socket.send(Buffer.from(request), target, "127.0.0.1");
        const [bytes] = await answer;
        if (chance() < loss) return;
        await sleep(backMs + jitterMs * chance());
        send(bytes);
      } catch {
        // The server is silent.
      } finally {
        sockets.delete(socket);
        socket.close();
      }
    }
    return new Relay(responder, late, sockets);
  }

  /** `host:port`. */
  get address(): string {
    return this.#responder.address;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#late);
    await this.#responder[Symbol.asyncDispose]();
    if (this.#sockets.size > 0) throw new Error(`${this.#sockets.size} sockets are left`);
  }
}
