/**
 * Runs in a network namespace of its own: a chronyd, the kernel's delay on the way to it (and none on the way back), an
 * SNTP client. Prints what the client found, as JSON.
 */
import { SntpClock } from "../sntp_clock.ts";
import { Chronyd } from "./chronyd.ts";
import { compareWithTrueTime } from "./true_time.ts";

/** Delay of questions, ms; 0 leaves the network as it is. */
const delayMs = Number(Deno.args[0]);

async function tc(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("tc", { args }).output();
  if (!success) throw new Error(`tc ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

await using server = await Chronyd.start();
if (delayMs > 0) {
  // Everything goes through band 1, what is sent to the server through band 3, which has the delay.
  const bands = "priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0".split(" ");
  await tc("qdisc", "add", "dev", "lo", "root", "handle", "1:", "prio", ...bands);
  await tc("qdisc", "add", "dev", "lo", "parent", "1:3", "netem", "delay", `${delayMs}ms`, "1ms");
  const match = ["u32", "match", "ip", "dport", `${server.port}`, "0xffff"];
  await tc(
    "filter",
    "add",
    "dev",
    "lo",
    "parent",
    "1:",
    "protocol",
    "ip",
    ...match,
    "flowid",
    "1:3",
  );
}
const clock = new SntpClock({ servers: [server.address] });
await clock.sync();
const figures = await compareWithTrueTime(clock, { syncs: 5, readings: 50 });
const [{ delayNs }] = clock.servers();
await clock.close();
console.log(JSON.stringify({ ...figures, delayNs }));
