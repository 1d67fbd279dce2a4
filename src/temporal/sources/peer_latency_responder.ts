/**
 * What a peer runs so that others can measure the way to it: it sends back each question, over UDP and TCP, on one port.
 *
 * Nobody can use it against a third: an answer is as long as its question, an answer is never answered, and whatever is
 * no question gets none. A TCP connection that sends something else, or does not read, is ended.
 *
 * Cost: a datagram or 24 bytes of a stream for each question; 64 connections at most.
 */
import type { Socket as UdpSocket } from "node:dgram";
import type { Server, Socket } from "node:net";
import { checkInteger, checkKeys, checkType } from "../../base/mod.ts";
import { MmsbError, reasonOf } from "../../base/errors.ts";
import { isIPv6 } from "./_ip_address.ts";
import { isGranted } from "./_platform.ts";
import { peerAnswer, PeerPackets } from "./_peer_packet.ts";

/** Options of {@linkcode PeerLatencyResponder.open}. */
export interface PeerLatencyResponderOptions {
  /** Address to listen on. Default `127.0.0.1`: only this machine. */
  readonly host?: string;
  /** Port, for UDP and TCP; 0 for one that is free. Default 0. */
  readonly port?: number;
}

const CONNECTIONS_MAX = 64;
/** A connection that asks nothing for so long is ended. */
const IDLE_MS_MAX = 60_000;
/** Answers that a connection has not taken, in bytes: more, and it is ended. */
const UNREAD_BYTES_MAX = 65_536;
/** Tries to find a port that is free for both. */
const PORT_TRIES = 16;

/** Answers round trips; see {@linkcode PeerLatency}. */
export class PeerLatencyResponder implements AsyncDisposable {
  /** Address that it listens on. */
  readonly host: string;
  /** Port, of UDP and TCP. */
  readonly port: number;
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly #connections = new Set<Socket>();
  #answered = 0;
  #refused = 0;
  #closing: Promise<void> | undefined;

  private constructor(host: string, port: number, udp: UdpSocket, tcp: Server) {
    this.host = host;
    this.port = port;
    this.#udp = udp;
    this.#tcp = tcp;
    udp.on("message", (packet, { port, address }) => {
      const answer = this.#answerTo(packet);
      if (answer !== undefined) udp.send(answer, port, address, ignore);
    });
    udp.on("error", ignore);
    tcp.on("connection", (socket) => this.#take(socket));
    tcp.on("error", ignore);
  }

  /**
   * Begins to listen.
   *
   * @param options Where.
   * @returns The responder; it keeps the process alive until it is closed.
   * @throws {MmsbError} `usage` or `out-of-bounds` for wrong options, `network` if it cannot listen there.
   */
  static async open(options: PeerLatencyResponderOptions = {}): Promise<PeerLatencyResponder> {
    checkKeys("PeerLatencyResponder.open", options, ["host", "port"]);
    const host = checkType("host", options.host ?? "127.0.0.1", "string");
    const port = checkInteger("port", options.port ?? 0, 0, 65_535);
    const place = `${isIPv6(host) ? `[${host}]` : host}:${port}`;
    let last: unknown = "the permission --allow-net is not granted";
    for (let tries = port === 0 ? PORT_TRIES : 1; tries > 0; tries--) {
      if (!isGranted({ name: "net", host: place })) break;
      try {
        const tcp = await listenTcp(host, port);
        const address = tcp.address();
        const found = typeof address === "object" && address !== null ? address.port : port;
        try {
          const udp = await listenUdp(host, found);
          return new PeerLatencyResponder(host, found, udp, tcp);
        } catch (error) {
          tcp.close();
          throw error;
        }
      } catch (error) {
        last = error;
      }
    }
    throw new MmsbError("network", `Cannot listen on ${place}: ${reasonOf(last)}`, {
      values: { host, port },
    });
  }

  /** Questions answered so far. */
  get answered(): number {
    return this.#answered;
  }

  /** What came and was no question. */
  get refused(): number {
    return this.#refused;
  }

  /** Ends it, with all connections. Closing again does nothing. */
  close(): Promise<void> {
    return this.#closing ??= this.#end();
  }

  /** Closes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #answerTo(packet: Uint8Array): Uint8Array | undefined {
    const answer = peerAnswer(packet);
    if (answer === undefined) this.#refused++;
    else this.#answered++;
    return answer;
  }

  #take(socket: Socket): void {
    if (this.#closing !== undefined || this.#connections.size >= CONNECTIONS_MAX) {
      socket.destroy();
      return;
    }
    this.#connections.add(socket);
    const packets = new PeerPackets();
    socket.setNoDelay(true);
    socket.setTimeout(IDLE_MS_MAX, () => socket.destroy());
    socket.on("data", (piece) =>
      packets.push(piece as Uint8Array, (packet) => {
        const answer = this.#answerTo(packet);
        if (answer === undefined || socket.writableLength > UNREAD_BYTES_MAX) {
          socket.destroy();
          return false;
        }
        socket.write(answer);
        return true;
      }));
    socket.on("error", ignore);
    socket.on("end", () => socket.destroy());
    socket.on("close", () => this.#connections.delete(socket));
  }

  async #end(): Promise<void> {
    const tcp = Promise.withResolvers<void>(), udp = Promise.withResolvers<void>();
    this.#tcp.close(() => tcp.resolve());
    this.#udp.close(() => udp.resolve());
    for (const socket of this.#connections) socket.destroy();
    await Promise.all([tcp.promise, udp.promise]);
  }
}

async function listenTcp(host: string, port: number): Promise<Server> {
  const { createServer } = await import("node:net");
  const server = createServer();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(port, host, resolve);
  await promise;
  return server;
}

async function listenUdp(host: string, port: number): Promise<UdpSocket> {
  const { createSocket } = await import("node:dgram");
  const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once("error", reject);
  socket.bind(port, host, resolve);
  await promise;
  return socket;
}

function ignore(): void {}
