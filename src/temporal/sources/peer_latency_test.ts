/** Round trips over loopback, against peers that do wrong, and figures against sums. */
import { deepEqual, equal, match, ok, rejects, throws } from "node:assert/strict";
import { createSocket } from "node:dgram";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import fc from "fast-check";
import { PEER_PACKET_BYTES, peerAnswer, PeerPackets, peerQuestion } from "./_peer_packet.ts";
import { LatencyWindow } from "./_peer_window.ts";
import { PeerLatency, type PeerLatencyOptions } from "./peer_latency.ts";
import { PeerLatencyResponder } from "./peer_latency_responder.ts";

const HOST = "127.0.0.1";
const random = (bytes: Uint8Array<ArrayBuffer>): void => void crypto.getRandomValues(bytes);

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let wait = 0; !holds(); wait++) {
    ok(wait < 500, what);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A peer over UDP that sends what it is told. */
async function udpPeer(
  answer: (question: Uint8Array, send: (packet: Uint8Array) => void) => void,
): Promise<{ port: number; close: () => Promise<void> }> {
  const socket = createSocket("udp4");
  socket.on(
    "message",
    (question, { port, address }) =>
      answer(question, (packet) => socket.send(packet, port, address)),
  );
  await new Promise<void>((resolve) => socket.bind(0, HOST, resolve));
  const { port } = socket.address();
  return { port, close: () => new Promise((resolve) => socket.close(() => resolve())) };
}

/** A peer over TCP that does with each connection what it is told. */
async function tcpPeer(
  take: (socket: Socket) => void,
): Promise<{ port: number; close: () => Promise<void> }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    take(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, HOST, () => resolve()));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

for (const protocol of ["udp", "tcp"] as const) {
  Deno.test(`PeerLatency measures round trips over ${protocol}, and widens bounds by them`, async () => {
    await using peer = await PeerLatencyResponder.open();
    await using latency = new PeerLatency({ host: HOST, port: peer.port, protocol, window: 64 });
    equal(latency.widenedErrorNs(5), Infinity);
    const all = await Promise.all(Array.from({ length: 20 }, () => latency.sample()));
    for (let round = 0; round < 80; round++) all.push(await latency.sample());
    const last = all.slice(-64).sort((a, b) => a - b);
    const { asked, lost, loss, minNs, medianNs, p99Ns, maxNs, foreign } = latency.statistics();
    deepEqual([asked, lost, loss, foreign], [64, 0, 0, 0]);
    deepEqual([minNs, medianNs, p99Ns, maxNs], [last[0], last[31], last[63], last[63]]);
    ok(minNs > 0 && maxNs < 5e9);
    equal(latency.widenedErrorNs(1000), 1000 + p99Ns);
    equal(latency.widenedErrorNs(Infinity), Infinity);
    for (const wrong of [NaN, -1, 5n, "5"]) {
      throws(() => latency.widenedErrorNs(wrong as number), { code: "usage" });
    }
    equal(peer.answered, 100);
  });

  Deno.test(`PeerLatency over ${protocol}: a silent peer loses questions, and closing leaves nothing open`, async () => {
    const peer = protocol === "udp" ? await udpPeer(() => {}) : await tcpPeer(() => {});
    const latency = new PeerLatency({ host: HOST, port: peer.port, protocol, timeoutMs: 30 });
    await rejects(latency.sample(), { code: "network", message: /no answer within 30 ms/ });
    const { asked, lost, loss, medianNs, isUnsteady } = latency.statistics();
    deepEqual([asked, lost, loss, medianNs, isUnsteady], [1, 1, 1, NaN, false]);
    const waiting = rejects(latency.sample(), { code: "closed" });
    latency.start();
    latency.start();
    await Promise.all([latency.close(), latency.close(), waiting]);
    await rejects(latency.sample(), { code: "closed" });
    throws(() => latency.start(), { code: "closed" });
    await peer.close();
  });

  Deno.test(`PeerLatency over ${protocol} asks by itself once started`, async () => {
    await using peer = await PeerLatencyResponder.open();
    await using latency = new PeerLatency({
      host: HOST,
      port: peer.port,
      protocol,
      intervalMs: 10,
    });
    latency.start();
    await until(() => latency.statistics().asked >= 3, "it asks");
  });
}

Deno.test("PeerLatency counts duplicates, late answers and what is none, and takes no lie for an answer", async () => {
  let kept: Uint8Array | undefined;
  const peer = await udpPeer((question, send) => {
    const answer = peerAnswer(question)!;
    if (kept === undefined) {
      kept = answer;
      return;
    }
    send(kept); // late
    send(kept);
    const lie = answer.slice();
    lie[20] ^= 1;
    send(lie);
    send(question);
    send(new Uint8Array(0));
    send(answer.subarray(1));
    send(new Uint8Array(2000));
    send(answer);
    send(answer);
  });
  const latency = new PeerLatency({ host: HOST, port: peer.port, timeoutMs: 100 });
  await rejects(latency.sample(), { code: "network" });
  ok(await latency.sample() > 0);
  await until(() => latency.statistics().duplicates >= 2, "duplicates come");
  const { asked, lost, late, duplicates, foreign } = latency.statistics();
  deepEqual({ asked, lost, late, duplicates, foreign }, {
    asked: 2,
    lost: 1,
    late: 1,
    duplicates: 2,
    foreign: 5,
  });
  await latency.close();
  await peer.close();
});

Deno.test("PeerLatency over TCP takes answers in pieces and several at once, and ends a stream of nonsense", async () => {
  const pieces = await tcpPeer((socket) => {
    const packets = new PeerPackets();
    socket.setNoDelay(true);
    socket.on("data", (piece) =>
      packets.push(piece as Uint8Array, (question) => {
        const answer = peerAnswer(question)!;
        for (let at = 0; at < answer.length; at += 5) socket.write(answer.slice(at, at + 5));
        return true;
      }));
  });
  const options = { host: HOST, protocol: "tcp" } as const;
  const latency = new PeerLatency({ ...options, port: pieces.port });
  await Promise.all([latency.sample(), latency.sample(), latency.sample()]);
  equal(latency.statistics().lost, 0);
  await latency.close();
  await pieces.close();

  let connections = 0;
  const nonsense = await tcpPeer((socket) => {
    connections++;
    socket.on("data", () => socket.write(new Uint8Array(100_000)));
  });
  const second = new PeerLatency({ ...options, port: nonsense.port, timeoutMs: 2000 });
  await rejects(second.sample(), { code: "network", message: /what is no answer/ });
  await rejects(second.sample(), { code: "network", message: /what is no answer/ });
  equal(connections, 2);
  await second.close();
  await nonsense.close();

  const closing = await tcpPeer((socket) => socket.destroy());
  const third = new PeerLatency({ ...options, port: closing.port, timeoutMs: 2000 });
  await rejects(third.sample(), { code: "network" });
  await third.close();
  await closing.close();
  // Nobody listens there any more.
  const fourth = new PeerLatency({ ...options, port: closing.port });
  await rejects(fourth.sample(), { code: "network", message: /refused/i });
  await fourth.close();
});

Deno.test("PeerLatencyResponder answers no nonsense, never at length, and ends connections that send some", async () => {
  await using peer = await PeerLatencyResponder.open();
  const socket = createSocket("udp4"), answers: number[] = [];
  socket.on("message", (answer) => answers.push(answer.length));
  await new Promise<void>((resolve) => socket.bind(0, HOST, resolve));
  let sent = 0;
  for (let round = 0; round < 300; round++) {
    const packet = new Uint8Array(round % 60);
    crypto.getRandomValues(packet);
    socket.send(packet, peer.port, HOST);
    sent++;
  }
  const question = peerQuestion(random);
  // An answer that is answered would go round for ever.
  socket.send(peerAnswer(question)!, peer.port, HOST);
  for (const byte of [0, 4, 5, 6, 7]) {
    const wrong = question.slice();
    wrong[byte] ^= 0x80;
    socket.send(wrong, peer.port, HOST);
  }
  socket.send(question, peer.port, HOST);
  await until(() => answers.length > 0, "a question is answered");
  deepEqual(answers, [PEER_PACKET_BYTES]);
  ok(peer.refused <= sent + 6);
  await new Promise<void>((resolve) => socket.close(() => resolve()));

  const stream = connect({ host: HOST, port: peer.port });
  const ended = new Promise<void>((resolve) => stream.on("close", () => resolve()));
  stream.on("error", () => {});
  stream.on("data", () => answers.push(0));
  stream.write(new Uint8Array(1000));
  await ended;
  equal(answers.length, 1);
});

Deno.test("PeerLatency and its responder refuse wrong options", async () => {
  const good = { host: HOST, port: 9 };
  const wrong: readonly [unknown, RegExp][] = [
    [undefined, /options of PeerLatency/],
    [{}, /as host/],
    [{ host: "", port: 9 }, /empty host/],
    [{ host: HOST }, /as port/],
    [{ host: HOST, port: 0 }, /as port/],
    [{ ...good, protocol: "icmp" }, /as protocol/],
    [{ ...good, window: 1 }, /as window/],
    [{ ...good, window: 1e9 }, /as window/],
    [{ ...good, timeoutMs: NaN }, /as timeoutMs/],
    [{ ...good, intervalMs: 1n }, /as intervalMs/],
    [{ ...good, unsteadyFrom: -1 }, /as unsteadyFrom/],
    [{ ...good, steady: 7 }, /as steady/],
    [{ ...good, retries: 7 }, /option "retries"/],
  ];
  for (const [options, message] of wrong) {
    throws(() => new PeerLatency(options as PeerLatencyOptions), { name: "MmsbError", message });
  }
  await rejects(PeerLatencyResponder.open({ port: 70_000 }), { code: "out-of-bounds" });
  await rejects(PeerLatencyResponder.open({ hostname: HOST } as never), { code: "usage" });
  await rejects(PeerLatencyResponder.open({ host: "192.0.2.1" }), { code: "network" });
  await using peer = await PeerLatencyResponder.open();
  await rejects(PeerLatencyResponder.open({ port: peer.port }), { code: "network" });
  const latency = new PeerLatency({ host: "no-such-host.invalid", port: 9 });
  await rejects(latency.sample(), { code: "network" });
  await latency.close();
});

Deno.test("without the permission nobody is asked, and the error says which one is missing", async () => {
  const module = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);
  const { stdout, stderr } = await runText(`
      import { PeerLatency } from ${module("./peer_latency.ts")};
      import { PeerLatencyResponder } from ${module("./peer_latency_responder.ts")};
      for (const protocol of ["udp", "tcp"]) {
        const latency = new PeerLatency({ host: "127.0.0.1", port: 9, protocol });
        await latency.sample().catch(({ code, message }) => console.log(code, message));
        await latency.close();
      }
      await PeerLatencyResponder.open().catch(({ code, message }) => console.log(code, message));
    `);
  equal(new TextDecoder().decode(stderr), "");
  const lines = new TextDecoder().decode(stdout).trimEnd().split("\n");
  equal(lines.length, 3);
  for (const line of lines) match(line, /^network .*--allow-net.* is not granted$/);
});

async function runText(text: string): Promise<Deno.CommandOutput> {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, text);
    return await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-lock", "--no-prompt", "--quiet", file],
    }).output();
  } finally {
    await Deno.remove(file);
  }
}

Deno.test("LatencyWindow gives the figures that sums over the last values give", () => {
  fc.assert(fc.property(
    fc.integer({ min: 2, max: 9 }),
    fc.array(fc.oneof(fc.integer({ min: 1, max: 1000 }), fc.constant(NaN)), { maxLength: 30 }),
    (places, values) => {
      const window = new LatencyWindow(places);
      for (const value of values) window.push(value);
      const last = values.slice(-places), heard = last.filter((value) => value >= 0);
      const sorted = heard.toSorted((a, b) => a - b);
      const { asked, lost, minNs, medianNs, p99Ns, maxNs, jitterNs, deviationNs } = window
        .figures();
      deepEqual([asked, lost], [last.length, last.length - heard.length]);
      deepEqual([minNs, maxNs], [sorted.at(0) ?? NaN, sorted.at(-1) ?? NaN]);
      const rank = (part: number) =>
        sorted.find((value) =>
          sorted.filter((other) => other <= value).length >= part * sorted.length
        ) ?? NaN;
      deepEqual([medianNs, p99Ns], [rank(0.5), rank(0.99)]);
      const mean = heard.reduce((sum, value) => sum + value, 0) / heard.length;
      const variance = heard.reduce((sum, value) => sum + (value - mean) ** 2, 0) /
        (heard.length - 1);
      if (heard.length > 1) {
        ok(Math.abs(deviationNs - Math.sqrt(variance)) < 1e-6);
        let sum = 0;
        heard.forEach((value, index) =>
          sum += index === 0 ? 0 : Math.abs(value - heard[index - 1])
        );
        ok(Math.abs(jitterNs - sum / (heard.length - 1)) < 1e-9);
      }
    },
  ));
});
