/**
 * The two ways to a peer: datagrams and a stream. Each is opened at the first question and again after it broke; neither
 * keeps the process alive while nothing is asked.
 */
import type { Socket as UdpSocket } from "node:dgram";
import type { connect as Connect, Socket } from "node:net";
import { reasonOf } from "../../base/errors.ts";
import type { SteadyCounter } from "./clock_source.ts";
import { isIPv6 } from "./_ip_address.ts";
import { isGranted } from "./_platform.ts";
import { PeerPackets } from "./_peer_packet.ts";

/** What a channel tells. */
export interface PeerChannelUser {
  /** A packet came; says whether it can be one of the peer's: a stream with others is closed. */
  arrived(packet: Uint8Array, steadyNs: number): boolean;
  /** The channel broke: nothing of what was asked will be answered. */
  broke(reason: string): void;
}

/** A way to a peer. */
export interface PeerChannel {
  /**
   * Sends a packet; `sent` is called with the counter just before.
   *
   * @throws {Error} Why it cannot be sent, in words that go on after `as`.
   */
  send(packet: Uint8Array, sent: (steadyNs: number) => void): Promise<void>;
  /** Gives back the socket. */
  close(): Promise<void>;
}

/** Where a peer is, and what measures time. */
export interface PeerPlace {
  /** Name or address. */
  readonly host: string;
  /** Its port. */
  readonly port: number;
  /** What time is measured with. */
  readonly steady: SteadyCounter;
  /** Longest wait for a connection, ms. */
  readonly timeoutMs: number;
}

function requirePermission(host: string): void {
  if (!isGranted({ name: "net", host })) {
    throw new Error(`the permission --allow-net=${host} is not granted`);
  }
}

function hostText(host: string, port: number): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

/** Datagrams. */
export class UdpChannel implements PeerChannel {
  readonly #place: PeerPlace;
  readonly #user: PeerChannelUser;
  #opening: Promise<{ socket: UdpSocket; address: string }> | undefined;
  #isClosed = false;

  /** Opens nothing yet. */
  constructor(place: PeerPlace, user: PeerChannelUser) {
    this.#place = place;
    this.#user = user;
  }

  async send(packet: Uint8Array, sent: (steadyNs: number) => void): Promise<void> {
    const opening = this.#opening ??= this.#open();
    let opened: { socket: UdpSocket; address: string };
    try {
      opened = await opening;
    } catch (error) {
      if (this.#opening === opening) this.#opening = undefined;
      throw error;
    }
    if (this.#isClosed) throw new Error("it is closed");
    const { socket, address } = opened;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    sent(this.#place.steady.nowNs());
    socket.send(packet, this.#place.port, address, (error) => error ? reject(error) : resolve());
    await promise;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const opened = await this.#opening?.catch(() => undefined);
    if (opened === undefined) return;
    const closed = Promise.withResolvers<void>();
    opened.socket.close(() => closed.resolve());
    await closed.promise;
  }

  async #open(): Promise<{ socket: UdpSocket; address: string }> {
    const { host, port, steady } = this.#place;
    requirePermission(hostText(host, port));
    // Loaded when first used: each takes some 10 ms or more.
    const { lookup } = await import("node:dns/promises");
    const { createSocket } = await import("node:dgram");
    const { address, family } = await lookup(host);
    requirePermission(hostText(address, port));
    requirePermission(family === 6 ? "[::]:0" : "0.0.0.0:0");
    const socket = createSocket(family === 6 ? "udp6" : "udp4");
    // Before it is bound: later, the runtime does so only once a datagram has come.
    socket.unref();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.on("error", (error) => {
      reject(error);
      this.#user.broke(reasonOf(error));
    });
    socket.on("message", (packet, from) => {
      const arrivedNs = steady.nowNs();
      if (from.port === port && from.address === address) this.#user.arrived(packet, arrivedNs);
    });
    socket.bind(0, resolve);
    await promise;
    return { socket, address };
  }
}

/** A stream. */
export class TcpChannel implements PeerChannel {
  readonly #place: PeerPlace;
  readonly #user: PeerChannelUser;
  #opening: Promise<Socket> | undefined;
  #socket: Socket | undefined;
  #isClosed = false;

  /** Opens nothing yet. */
  constructor(place: PeerPlace, user: PeerChannelUser) {
    this.#place = place;
    this.#user = user;
  }

  async send(packet: Uint8Array, sent: (steadyNs: number) => void): Promise<void> {
    const net = await import("node:net");
    if (this.#isClosed) throw new Error("it is closed");
    const socket = await (this.#opening ??= this.#open(net));
    if (this.#isClosed) throw new Error("it is closed");
    sent(this.#place.steady.nowNs());
    socket.write(packet);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const socket = this.#socket;
    if (socket === undefined || socket.closed) return;
    const closed = Promise.withResolvers<void>();
    socket.once("close", () => closed.resolve());
    socket.destroy();
    await closed.promise;
  }

  // Not async up to the socket's making, so that `close` always finds the socket.
  #open({ connect }: { connect: typeof Connect }): Promise<Socket> {
    const { host, port, steady, timeoutMs } = this.#place;
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    const fail = (error: unknown): void => {
      this.#opening = undefined;
      reject(error);
    };
    try {
      requirePermission(hostText(host, port));
    } catch (error) {
      fail(error);
      // The caller has not stored the promise yet.
      queueMicrotask(() => this.#opening = undefined);
      return promise;
    }
    const socket = this.#socket = connect({ host, port, noDelay: true });
    const packets = new PeerPackets();
    let reason = "the peer closed the connection";
    socket.setTimeout(timeoutMs, () => {
      reason = `it did not connect within ${timeoutMs} ms`;
      socket.destroy();
    });
    socket.once("connect", () => {
      socket.setTimeout(0);
      socket.unref();
      resolve(socket);
    });
    socket.on("data", (piece) => {
      const arrivedNs = steady.nowNs();
      packets.push(piece as Uint8Array, (packet) => {
        if (this.#user.arrived(packet, arrivedNs)) return true;
        reason = "the peer sent what is no answer";
        socket.destroy();
        return false;
      });
    });
    socket.on("error", (error) => reason = reasonOf(error));
    socket.on("end", () => socket.destroy());
    socket.once("close", () => {
      fail(new Error(reason));
      this.#user.broke(reason);
    });
    return promise;
  }
}
