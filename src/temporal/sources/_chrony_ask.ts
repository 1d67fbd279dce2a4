/**
 * Asking chronyd: over its command protocol on the loopback interface, or by its program `chronyc`.
 *
 * The protocol comes first: an answer takes 0.3 ms and needs no process and no more than `--allow-net=127.0.0.1`. `chronyc`
 * takes some 5 ms, and reaches a daemon that has `cmdport 0` in its settings, by its Unix socket, if the user is root or chrony's own.
 *
 * Each question has a socket of its own, so that no late answer of an earlier one is in the way and nothing stays open.
 */
import { clearTimeout, setTimeout } from "node:timers";
import { isGranted } from "./_platform.ts";
import { type ChronyTracking, decodeLine, decodeReply, encodeRequest } from "./_chrony_packet.ts";

const HOST = "127.0.0.1";
/** chronyc prints one line of some 150 characters. */
const OUTPUT_BYTES_MAX = 65_536;

/** How to reach the daemon. */
export interface ChronyAddress {
  /** UDP port of its command protocol. */
  readonly port: number;
  /** Its program: a name or a path. */
  readonly chronyc: string;
  /** What to use. */
  readonly via: "auto" | "socket" | "chronyc";
  /** How long to wait for an answer, in ms. */
  readonly timeoutMs: number;
}

/** What came back. */
export interface ChronyAnswer {
  /** What the daemon says, or why there is nothing, to go on after `as`. */
  readonly tracking: ChronyTracking | string;
  /** How it was asked. */
  readonly via: "socket" | "chronyc" | "none";
}

/** The port that chronyd has if its settings name no other. */
export const CHRONY_PORT = 323;

/** Asks once; never rejects. */
export async function askChrony(address: ChronyAddress): Promise<ChronyAnswer> {
  const { port, chronyc, via } = address;
  const host = `${HOST}:${port}`;
  const reasons: string[] = [];
  if (via !== "chronyc") {
    // The socket is bound as well, to a port that the system chooses.
    if (isGranted({ name: "net", host }) && isGranted({ name: "net", host: `${HOST}:0` })) {
      const tracking = await askSocket(address);
      if (typeof tracking !== "string") return { tracking, via: "socket" };
      reasons.push(tracking);
    } else reasons.push(`the permission --allow-net=${HOST} is not granted`);
  }
  if (via !== "socket") {
    if (isGranted({ name: "run", command: chronyc })) {
      const tracking = await askProgram(address);
      if (typeof tracking !== "string") return { tracking, via: "chronyc" };
      reasons.push(tracking);
    } else if (reasons.length === 0) {
      reasons.push(`the permission --allow-run=${chronyc} is not granted`);
    }
  }
  return { tracking: reasons.join(", and "), via: "none" };
}

async function askSocket(address: ChronyAddress): Promise<ChronyTracking | string> {
  const { port, timeoutMs } = address;
  // Loaded when first used: it takes some 20 ms.
  const { createSocket } = await import("node:dgram");
  const sequence = crypto.getRandomValues(new Uint32Array(1))[0];
  const socket = createSocket("udp4");
  const { promise, resolve } = Promise.withResolvers<ChronyTracking | string>();
  let reason = `nothing answers on ${HOST}:${port}`;
  const timer = setTimeout(() => resolve(reason), timeoutMs);
  socket.on("error", (error) => resolve(`the socket fails (${error.message})`));
  socket.on("message", (message, remote) => {
    if (remote.address !== HOST || remote.port !== port) return;
    const decoded = decodeReply(message, sequence);
    // What is refused may be somebody else's: the right answer may still come.
    if (typeof decoded === "string") reason = decoded;
    else resolve(decoded);
  });
  try {
    socket.bind({ address: HOST, port: 0 }, () => {
      socket.send(encodeRequest(sequence), port, HOST, (error) => {
        if (error) resolve(`nothing answers on ${HOST}:${port} (${error.message})`);
      });
    });
  } catch (error) {
    resolve(`the socket fails (${error instanceof Error ? error.message : String(error)})`);
  }
  return await promise.finally(() => {
    clearTimeout(timer);
    return new Promise<void>((closed) => socket.close(() => closed()));
  });
}

async function askProgram(address: ChronyAddress): Promise<ChronyTracking | string> {
  const { port, chronyc, timeoutMs } = address;
  const { execFile } = await import("node:child_process");
  const where = port === CHRONY_PORT ? [] : ["-h", HOST, "-p", String(port)];
  const { promise, resolve } = Promise.withResolvers<ChronyTracking | string>();
  try {
    execFile(
      chronyc,
      ["-n", "-c", ...where, "tracking"],
      // Starting a process takes longer than a datagram.
      { timeout: Math.max(timeoutMs, 1000), maxBuffer: OUTPUT_BYTES_MAX, encoding: "utf8" },
      (error, output) => {
        if (error === null) resolve(decodeLine(output));
        else if ("code" in error && error.code === "ENOENT") resolve(`there is no ${chronyc}`);
        else resolve(`${chronyc} says ${JSON.stringify(output.trim().slice(0, 80))}`);
      },
    );
  } catch (error) {
    resolve(`${chronyc} fails (${error instanceof Error ? error.message : String(error)})`);
  }
  return await promise;
}
