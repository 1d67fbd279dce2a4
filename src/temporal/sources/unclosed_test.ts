/** Sources that nobody closes: the process ends by itself all the same, with exit code 0, and says nothing. */
import { deepEqual } from "node:assert/strict";

const RUNNING = `
  import * as all from ${JSON.stringify(import.meta.resolve("./mod.ts"))};
  const peer = await all.PeerLatencyResponder.open();
  const { host, port } = peer;
  const address = \`127.0.0.1:\${port}\`;
  const selector = await all.ClockSelector.open({ sntp: [address], findMs: 100, startMsMax: 50 });
  selector.events();
  const sources = [
    new all.SntpClock({ servers: [address], timeoutMs: 50 }),
    new all.ChronyClock({ port, timeoutMs: 20, via: "socket" }),
    new all.PtpClock(),
    new all.SystemClock(),
    new all.SimulatedClock(),
    new all.CachedClock(new all.SystemClock()),
  ];
  await Promise.all(sources.map((source) => source.start()));
  for (let i = 0; i < 1e6; i++) sources[5].nowUs(); // the ticker runs
  for (const protocol of ["udp", "tcp"]) {
    for (const to of [port, 9]) {
      const latency = new all.PeerLatency({ host, port: to, protocol, timeoutMs: 50, intervalMs: 10 });
      latency.start();
      await latency.sample().catch(() => {});
    }
  }
  await peer.close(); // it listens, and says that it keeps the process alive
  console.log("the end");
`;

Deno.test("sources and peers that run and are not closed do not keep the process alive, nor fail it", async () => {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-check", RUNNING],
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const tooLate = setTimeout(() => process.kill("SIGKILL"), 60_000);
  const { code, signal, stdout, stderr } = await process.output();
  clearTimeout(tooLate);
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  deepEqual([code, signal, text(stdout), text(stderr)], [0, null, "the end\n", ""]);
});
