/** An SNTP client against servers that lie, over real sockets on loopback. */
import { equal, match, ok, rejects } from "node:assert/strict";
import { createSocket } from "node:dgram";
import { isMmsbError } from "../../base/errors.ts";
import { SntpClock } from "./sntp_clock.ts";
import type { SntpServerStatus } from "./sntp_server_status.ts";
import { type Answering, honest, Responder, systemNs } from "./testdata/lying_responder.ts";
import { freePort } from "./testdata/chronyd.ts";

/** Where no answer comes, or none that counts. */
const SILENCE_MS = 60;

/** Where one comes, however busy the machine is. */
const ANSWER_MS = 2000;

/** Syncs once with one responder. */
async function askOnce(
  answer: Answering,
  check: (
    clock: SntpClock,
    server: SntpServerStatus,
    error: unknown,
    responder: Responder,
  ) => void | Promise<void>,
  timeoutMs = ANSWER_MS,
): Promise<void> {
  await using responder = await Responder.open(answer);
  const clock = new SntpClock({
    servers: [responder.address],
    timeoutMs,
    samples: 2,
    gapMs: 1,
  });
  const error = await clock.sync().then(() => undefined, (error) => error);
  await check(clock, clock.servers()[0], error, responder);
  await clock.close();
}

/** A lie that must be refused with a reason. */
function refuses(name: string, reason: RegExp, answer: (request: Uint8Array) => Uint8Array): void {
  // What is no answer to the question is not the end of waiting.
  const isForeign = /origin|packet/.test(reason.source);
  const waits = isForeign ? [SILENCE_MS, 10 * SILENCE_MS, ANSWER_MS] : [ANSWER_MS];
  Deno.test(`SntpClock refuses ${name}`, async () => {
    let isLate = true;
    // The lie of a machine under load may come after a short wait.
    while (isLate) {
      const waitMs = waits.shift();
      await askOnce((request, send) => send(answer(request)), (clock, server, error) => {
        isLate = server.reason.startsWith("no answer") && waits.length > 0;
        if (isLate) return;
        ok(isMmsbError(error, "clock"), String(error));
        match(error.message, reason);
        match(server.reason, reason);
        equal(clock.isSynchronised, false);
        equal(clock.errorUs(), Infinity);
        equal(clock.status().failures, 1);
      }, waitMs);
    }
  });
}

function changed(at: number, by: number): (request: Uint8Array) => Uint8Array {
  return (request) => {
    const bytes = honest(request);
    bytes[at] ^= by;
    return bytes;
  };
}

refuses("a wrong origin", /origin timestamp/, changed(31, 1));
refuses("an origin of zero", /origin timestamp/, (request) => {
  const bytes = honest(request);
  bytes.fill(0, 24, 32);
  return bytes;
});
refuses("a short packet", /no NTP packet \(short\)/, (request) => honest(request).subarray(0, 47));
refuses("an empty packet", /no NTP packet \(short\)/, () => new Uint8Array(0));
refuses("mode 2, symmetric passive", /mode 2/, (request) => honest(request, { mode: 2 }));
refuses("mode 3, its own question", /mode 3/, (request) => honest(request, { mode: 3 }));
refuses("mode 5, a broadcast", /mode 5/, (request) => honest(request, { mode: 5 }));
refuses("version 7", /version 7/, (request) => honest(request, { version: 7 }));
refuses("version 1", /version 1/, (request) => honest(request, { version: 1 }));
refuses("leap indicator 3", /not synchronised/, (request) => honest(request, { leap: 3 }));
refuses("stratum 16", /not synchronised/, (request) => honest(request, { stratum: 16 }));
refuses("stratum 0 without a kiss code", /not synchronised/, (request) => {
  return honest(request, { stratum: 0, referenceId: 0 });
});
refuses("a huge root dispersion", /may be 16000\.\d+ ms wrong/, (request) => {
  return honest(request, { rootDispersionNs: 16e9 });
});
refuses("a huge root delay", /ms wrong/, (request) => honest(request, { rootDelayNs: 4e9 }));
refuses("a coarse clock", /ms wrong/, (request) => honest(request, { precision: 2 }));
refuses("no transmit timestamp", /no transmit/, (request) => honest(request, { transmitNs: null }));
refuses("no receive timestamp", /no receive/, (request) => honest(request, { receiveNs: null }));
refuses("an answer from before the question", /answered before/, (request) => {
  return honest(request, { transmitNs: systemNs() - 1_000_000_000n });
});
refuses("to have been held longer than it took", /held the question longer/, (request) => {
  return honest(request, { transmitNs: systemNs() + 1_000_000_000n });
});
refuses("a clock that is set in the future", /set after it answered/, (request) => {
  return honest(request, { referenceNs: systemNs() + 3_600_000_000_000n });
});
refuses("a time of the year 2130", /before 2020 or after 2112/, (request) => {
  const ns = 5_050_000_000_000_000_000n;
  return honest(request, { receiveNs: ns, transmitNs: ns });
});

Deno.test("SntpClock ignores a replayed answer", async () => {
  let first: Uint8Array | undefined;
  await askOnce((request, send) => send(first ??= honest(request)), (clock, server, error) => {
    equal(error, undefined);
    equal(server.foreign, 1); // the second question got the first one's answer
    ok(clock.isSynchronised);
  }, 400);
});

Deno.test("SntpClock ignores forged answers that come before the right one, a kiss of death too", async () => {
  await askOnce((request, send) => {
    const forged = honest(request, { stratum: 0, referenceId: 0x44454e59 });
    forged[24] ^= 1;
    send(forged);
    send(honest(request));
  }, (clock, server, error) => {
    equal(error, undefined);
    equal(server.state, "selected");
    equal(server.foreign, 2);
    ok(clock.isSynchronised);
  });
});

Deno.test("SntpClock takes one of two equal answers", async () => {
  await askOnce((request, send) => {
    const bytes = honest(request);
    send(bytes);
    send(bytes);
  }, (_, server, error) => {
    equal(error, undefined);
    equal(server.state, "selected");
  });
});

Deno.test("SntpClock ignores answers from another port", async () => {
  const other = createSocket("udp4");
  try {
    await askOnce((request, _, from) => {
      other.send(honest(request), from.port, from.address);
    }, (_, server, error) => {
      ok(isMmsbError(error, "clock"));
      equal(server.state, "silent");
      equal(server.foreign, 0);
    }, SILENCE_MS);
  } finally {
    await new Promise<void>((resolve) => other.close(() => resolve()));
  }
});

Deno.test("SntpClock counts what an answer is held up by, and gives up what is too late", async () => {
  const timers = new Set<ReturnType<typeof setTimeout>>();
  const late = (ms: number): Answering => (request, send) => {
    const bytes = honest(request);
    timers.add(setTimeout(() => send(bytes), ms));
  };
  await askOnce(late(20), (clock, server, error) => {
    equal(error, undefined);
    ok(server.delayNs >= 19e6, `${server.delayNs}`);
    ok(clock.errorUs() >= 9_500);
  });
  await askOnce(late(SILENCE_MS * 3), (_, server, error) => {
    ok(isMmsbError(error, "clock"));
    match(server.reason, /no answer within 60 ms/);
  }, SILENCE_MS);
  for (const timer of timers) clearTimeout(timer);
});

Deno.test("SntpClock never asks again after the kiss of death DENY", async () => {
  const deny: Answering = (request, send) => {
    send(honest(request, { stratum: 0, referenceId: 0x44454e59 }));
  };
  await askOnce(deny, async (clock, server, error, responder) => {
    ok(isMmsbError(error, "clock"));
    equal(server.state, "kiss");
    match(server.reason, /DENY/);
    const { asked } = responder;
    await rejects(clock.sync(), { code: "clock" });
    equal(responder.asked, asked);
    match(clock.servers()[0].reason, /DENY/);
  });
});

Deno.test("SntpClock sends no more of a burst once a kiss of death has come", async () => {
  await using responder = await Responder.open((request, send) => {
    send(honest(request, { stratum: 0, referenceId: 0x44454e59 }));
  });
  const clock = new SntpClock({ servers: [responder.address], samples: 8, gapMs: 50 });
  await rejects(clock.sync(), { code: "clock" });
  // One, but for a machine that is busy for longer than a gap.
  ok(responder.asked < 8, `${responder.asked} questions`);
  await clock.close();
});

Deno.test("SntpClock asks less often after the kiss of death RATE", async () => {
  const rate: Answering = (request, send) => {
    send(honest(request, { stratum: 0, referenceId: 0x52415445 }));
  };
  await askOnce(rate, async (clock, server, error, responder) => {
    ok(isMmsbError(error, "clock"));
    equal(server.state, "kiss");
    match(server.reason, /RATE.*64 s/);
    const { asked } = responder;
    await rejects(clock.sync(), { code: "clock" });
    equal(responder.asked, asked);
  });
});

Deno.test("SntpClock sends each question from a port of its own, with bits of its own", async () => {
  const origins = new Set<string>();
  await using responder = await Responder.open((request, send) => {
    equal(request.length, 48);
    equal(request[0], 0x23);
    ok(request.subarray(1, 40).every((byte) => byte === 0));
    origins.add(request.subarray(40).toString());
    send(honest(request));
  });
  const clock = new SntpClock({ servers: [responder.address], samples: 8, gapMs: 0 });
  await clock.sync();
  await clock.sync();
  await clock.close();
  equal(origins.size, 16);
  // The system draws from some 28,000 ports, so now and then one comes twice.
  ok(responder.ports.size >= 14, `${responder.ports.size} ports`);
});

Deno.test("SntpClock over IPv6, and with a name of several addresses", async () => {
  await using responder = await Responder.open((request, send) => send(honest(request)), "::1");
  const clock = new SntpClock({
    servers: [`[0:0:0:0:0:0:0:1]:${responder.port}`],
    timeoutMs: ANSWER_MS,
  });
  await clock.sync();
  equal(clock.servers()[0].state, "selected");
  await clock.close();
  await using v4 = await Responder.open((request, send) => send(honest(request)));
  const named = new SntpClock({ servers: [`localhost:${v4.port}`], timeoutMs: ANSWER_MS });
  await named.sync();
  equal(named.servers()[0].address, "127.0.0.1");
  await named.close();
});

Deno.test("SntpClock says why: no such name, a closed port, nothing that can be reached", async () => {
  const port = await freePort();
  const places: [string, RegExp][] = [
    ["no-such-host.invalid", /has no address|was not found within/],
    [`127.0.0.1:${port}`, /no answer within/],
    ["255.255.255.255", /nothing can be sent|no answer|EACCES|ermission/],
  ];
  for (const [server, reason] of places) {
    const clock = new SntpClock({ servers: [server], timeoutMs: SILENCE_MS });
    await rejects(clock.sync(), reason);
    match(clock.status().reason ?? "", reason);
    await clock.start();
    equal(clock.isSynchronised, false);
    await clock.close();
  }
});

Deno.test("SntpClock keeps its time when its server falls silent, and says so after a while", async () => {
  let isSilent = false;
  await using responder = await Responder.open((request, send) => {
    if (!isSilent) send(honest(request));
  });
  const clock = new SntpClock({ servers: [responder.address], timeoutMs: 100, samples: 1 });
  // A machine under load may be late at first.
  for (let tries = 0; tries < 20 && !clock.isSynchronised; tries++) {
    await clock.sync().catch(() => {});
  }
  isSilent = true;
  for (let i = 0; i < 8; i++) {
    ok(clock.isSynchronised, `after ${i} failures`);
    await rejects(clock.sync(), { code: "clock" });
  }
  equal(clock.isSynchronised, false);
  ok(clock.errorUs() < 1e5);
  match(clock.status().reason ?? "", /no answer/);
  isSilent = false;
  await clock.sync();
  ok(clock.isSynchronised);
  await clock.close();
});

Deno.test("SntpClock.start() goes on asking, and neither that nor a first sync keeps a process alive or lets it end early", async () => {
  await using responder = await Responder.open((request, send) => send(honest(request)));
  const module = new URL("./sntp_clock.ts", import.meta.url).href;
  const program = `
    import { SntpClock } from "${module}";
    const clock = new SntpClock({ servers: ["${responder.address}"], pollMinS: 1 });
    await clock.start();
    console.log(clock.status().syncs);
    const timer = setInterval(() => {
      if (clock.status().syncs < 2) return;
      clearInterval(timer);
      console.log(clock.status().syncs);
    }, 20);`;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-check", program],
    stdin: "null",
    signal: AbortSignal.timeout(20_000),
  }).output();
  equal(new TextDecoder().decode(stdout), "1\n2\n", new TextDecoder().decode(stderr));
});

Deno.test("SntpClock without permission for the network says which one is missing", {
  permissions: { net: false, read: true, ffi: false, env: true },
}, async () => {
  for (const server of ["127.0.0.1:123", "time.example"]) {
    const clock = new SntpClock({ servers: [server] });
    await rejects(clock.sync(), /--allow-net/);
    await clock.start();
    match(clock.status().reason ?? "", /--allow-net/);
    await clock.close();
  }
});
