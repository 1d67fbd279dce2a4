/**
 * A bus whose machine's clock is wrong after a restart: a process is killed with SIGKILL while it ticks, the next one opens
 * the directory with a clock that stands an hour elsewhere, and so on. Every timestamp in the log rises strictly,
 * over all of them, also where the log begins at a checkpoint.
 */

import assert from "node:assert/strict";
import { addTo, physicalUs, timestampHi, timestampLo } from "../temporal/mod.ts";
import { SimulatedClock } from "../temporal/sources/mod.ts";
import { FileStorage, LogReader, readMeta, verifyLog } from "../log/mod.ts";
import { StateBus } from "./mod.ts";

const HOUR_MS = 3_600_000;
/** First moment of the first process's clock. */
const START_NS = 1_767_225_600_000_000_000n;
/** Rows of each tick. */
const ROWS = 40;

// Started with a directory this file is the process that is killed: it ticks with a simulated clock, moved by so
// many ms, until it is.
if (Deno.args[0] === "tick-until-killed") await tickUntilKilled(Deno.args[1], Deno.args[2]);

async function tickUntilKilled(dir: string, settings: string): Promise<never> {
  const { movedMs, retention } = JSON.parse(settings) as Settings;
  const clock = clockAt(movedMs);
  const bus = await StateBus.open({
    dir,
    clock,
    segmentBytes: 4096,
    segmentBytesMax: 8192,
    checkpoints: { everyBytes: Infinity, keep: 1, log: retention },
  });
  const page = bus.find("page") ?? bus.createPage({ size: 8 * ROWS, name: "page" });
  for (let tick = bus.tickNumber + 1;; tick++) {
    clock.advance(1e6);
    for (let row = 0; row < ROWS; row++) page.write(8 * row, Uint8Array.of(tick % 251));
    const { durable, hlc } = await bus.tick();
    await durable;
    if (tick % 16 === 0) {
      if (retention !== "keep") await bus.checkpoint();
      console.log(`${tick} ${hlc}`);
    }
  }
}

interface Settings {
  /** How far the clock is set away from the first process's, ms. */
  readonly movedMs: number;
  readonly retention: "keep" | "drop";
}

function clockAt(movedMs: number): SimulatedClock {
  return new SimulatedClock({ startNs: START_NS + BigInt(movedMs) * 1_000_000n });
}

/** Runs a process until it has acknowledged some ticks, kills it, and gives the last tick and timestamp that it told of. */
async function runAndKill(dir: string, settings: Settings): Promise<{ tick: number; hlc: bigint }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      import.meta.filename!,
      "tick-until-killed",
      dir,
      JSON.stringify(settings),
    ],
    stdout: "piped",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    while (text.split("\n").length <= 2) {
      const { value, done } = await lines.read();
      assert.equal(done, false, "the process ended by itself");
      text += value;
    }
  } finally {
    child.kill("SIGKILL");
    await child.status;
    for (let end = await lines.read(); !end.done; end = await lines.read()) text += end.value;
  }
  // Its last line may be cut short.
  const last = text.slice(0, text.lastIndexOf("\n")).split("\n").at(-1)!;
  const [tick, hlc] = last.split(" ");
  return { tick: Number(tick), hlc: BigInt(hlc) };
}

/** Timestamps of all rows of the log, in order; asserts that each is later than the one before. */
function assertRising(dir: string): { first: bigint; last: bigint; rows: number } {
  const storage = new FileStorage(dir);
  const reader = new LogReader(storage, readMeta(storage));
  let first = 0n, last = 0n, rows = 0;
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
    const [{ frames, commitFrame }] = tick.lanes;
    for (const { hlcFirst, hlcLast, rows: count, tick } of [...frames, commitFrame]) {
      assert(hlcFirst > last, `tick ${tick}: ${hlcFirst} is not after ${last}`);
      const end = addTo(timestampHi(hlcFirst), timestampLo(hlcFirst), Math.max(count, 1) - 1);
      assert.equal(end, hlcLast);
      if (first === 0n) first = hlcFirst;
      last = hlcLast;
      rows += count;
    }
  }
  return { first, last, rows };
}

for (
  const [name, moves, retention] of [
    ["an hour back", [0, -HOUR_MS], "keep"],
    ["an hour ahead, and back again", [0, HOUR_MS, 0], "keep"],
    ["an hour back, the log before the checkpoint dropped", [0, -HOUR_MS], "drop"],
  ] as const
) {
  Deno.test(`a bus that is killed and opened with its clock ${name} stamps rising times`, async () => {
    const dir = Deno.makeTempDirSync({ prefix: "mmsb-clock-" });
    try {
      let told = 0n, ticks = 0;
      for (const movedMs of moves) {
        const { tick, hlc } = await runAndKill(dir, { movedMs, retention });
        assert(tick > ticks && hlc > told, `tick ${tick} at ${hlc} after ${ticks} at ${told}`);
        ticks = tick;
        told = hlc;
        assertRising(dir);
      }
      // And once more here, where the clock can be looked at: an hour behind all that is in the log.
      const movedMs = Math.min(...moves) - HOUR_MS;
      const bus = await StateBus.open({ dir, clock: clockAt(movedMs) });
      assert(bus.tickNumber >= ticks);
      assert(bus.opened.clock!.aheadMs > HOUR_MS - 1);
      const { hlc, clockErrorUs } = await bus.commit(() =>
        bus.find("page")!.write(0, Uint8Array.of(1))
      );
      assert(hlc > told);
      assert(clockErrorUs > HOUR_MS * 1000 - 1000, "the bound says how far the log is ahead");
      const { tickNumber } = bus;
      await bus.close();
      const { first, last, rows } = assertRising(dir);
      assert.equal(last, hlc);
      if (retention === "drop") assert(rows < tickNumber * ROWS, "the beginning was dropped");
      else assert.equal(Math.floor(physicalUs(first) / 1e6), Number(START_NS / 1_000_000_000n));
      assert.equal((await verifyLog(dir)).problems.length, 0);
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  });
}
