/**
 * Subject `gpu`: the GPU beside the CPU of the same machine.
 *
 * - Batches of 2^16 to 2^26 deltas of 16 bytes: upload, compute and read-back, each waited for; the whole, from columns
 *   in memory to bytes in the pages, through the GPU thread as a bus has it; and the CPU's kernel on the same rows.
 * - Ticks with a read-back each beside as many steps in one recorded sequence, and the twin on the CPU.
 * - Only dirty ranges uploaded beside whole pages.
 *
 * Results are compared before a time counts. On a software adapter (Mesa's llvmpipe, say), which computes on the
 * CPU, all of it runs with less work and says that these are no figures of a GPU; without an adapter it says so and gives no rows.
 */

import { GpuEngine } from "../src/physical/gpu/gpu_engine.ts";
import {
  type GpuThread,
  type GpuThreadStatus,
  openGpuThread,
} from "../src/physical/gpu/gpu_thread.ts";
import { interleave, median, type Row } from "./_harness.ts";
import { Field, GpuBatches, memoryFor, ReadWhole, uploadedBytes } from "./_work_gpu.ts";

/** Powers of two of the deltas, at scale 1. */
const SIZES: readonly number[] = [16, 18, 20, 22, 24, 26];
const SCALE_SOFTWARE = 2 ** -8;
/** Words of the field and of the page, at scale 1; a page has 16 MiB at most. */
const WORDS: number = 2 ** 22;
const WORDS_MIN: number = 2 ** 12;
const STEPS = 64;
const TICKS = 16;

/** Options of the subject. */
export interface GpuSubjectOptions {
  /** Part of the work, 1 for all; 1/256 on a software adapter if left out. */
  readonly scale?: number;
}

type Adapter = NonNullable<GpuThreadStatus["adapter"]>;

/** Runs the subject. */
export async function gpu(rounds: number, options: GpuSubjectOptions = {}): Promise<Row[]> {
  const thread = await openGpuThread();
  try {
    const { state, reason, adapter } = thread.status;
    if (state !== "ready" || adapter === undefined) {
      console.log(`– gpu: nothing was measured: ${reason || state}`);
      return [];
    }
    const { scale = adapter.isSoftware ? SCALE_SOFTWARE : 1 } = options;
    console.log(`  gpu: ${nameOf(adapter)}`);
    const all = { thread, adapter, rounds, scale };
    return [...await batchRows(all), ...await residentRows(all), await dirtyRow(all)];
  } finally {
    await thread.close();
  }
}

interface Measured {
  readonly thread: GpuThread;
  readonly adapter: Adapter;
  readonly rounds: number;
  readonly scale: number;
}

function nameOf({ name, vendor, driver, isSoftware }: Adapter): string {
  const about = [vendor, driver].filter((text) => text !== "").join(", ");
  return `${name}${about === "" ? "" : ` (${about})`}${
    isSoftware ? ": a software adapter, these are no figures of a GPU" : ""
  }`;
}

function deviceOf({ name, driver, isSoftware }: Adapter): Record<string, string | boolean> {
  return { device: name, driver, isSoftware };
}

function subjectOf(what: string, { isSoftware }: Adapter): string {
  return `gpu${isSoftware ? " (software, no figures of a GPU)" : ""}: ${what}`;
}

function ms(time: number): string {
  return time < 10 ? `${time.toFixed(2)} ms` : `${time.toFixed(0)} ms`;
}

/** Batches of all sizes. */
async function batchRows({ thread, adapter, rounds, scale }: Measured): Promise<Row[]> {
  const rows: Row[] = [], most = 2 ** SIZES[SIZES.length - 1] * scale;
  await using engine = await GpuEngine.open({ selfTest: false });
  for (const size of SIZES) {
    const deltas = 2 ** size;
    if (deltas > Math.max(most, 2 ** SIZES[0])) break;
    const needed = memoryFor(deltas), { available } = Deno.systemMemoryInfo();
    if (2 * needed > available) {
      console.log(`– gpu: 2^${size} deltas are left out: they need ${needed >> 20} MiB of memory`);
      break;
    }
    const work = new GpuBatches(deltas, thread);
    try {
      const phases = await medianPhases(work, engine, Math.min(rounds, 3));
      const measured = await interleave(() => work.runGpu(), () => work.runCpu(), rounds);
      const [cpu, gpu] = work.hashes(), isSame = cpu === gpu;
      const { upload, compute, readBack, scheme } = phases;
      const totalMs = 1000 * measured.ours, cpuMs = 1000 * measured.peer;
      rows.push({
        subject: subjectOf(`2^${size} deltas of 16 bytes`, adapter),
        ours: `${ms(totalMs)} (alone: upload ${ms(upload)}, compute ${ms(compute)}, read-back ${
          ms(readBack)
        })`,
        peer: `CPU ${ms(cpuMs)}`,
        ratio: measured.ratio,
        spread: measured.spread,
        target: "",
        met: isSame,
        hash: isSame ? cpu : `${gpu} differs from ${cpu}`,
        figures: {
          ...deviceOf(adapter),
          deltas,
          uploadMs: upload,
          computeMs: compute,
          readBackMs: readBack,
          totalMs,
          cpuMs,
          scheme,
        },
      });
    } finally {
      work.close();
    }
  }
  return rows;
}

async function medianPhases(work: GpuBatches, engine: GpuEngine, rounds: number) {
  await work.phases(engine);
  const all = [await work.phases(engine)];
  while (all.length < rounds) all.push(await work.phases(engine));
  const of = (name: "upload" | "compute" | "readBack") => median(all.map((one) => one[name]));
  return {
    upload: of("upload"),
    compute: of("compute"),
    readBack: of("readBack"),
    scheme: all[0].scheme,
  };
}

function wordsOf(scale: number): number {
  return Math.max(WORDS_MIN, 2 ** Math.floor(Math.log2(WORDS * scale)));
}

/** Steps in one recorded sequence beside ticks that each read back, and the twin. */
async function residentRows({ adapter, rounds, scale }: Measured): Promise<Row[]> {
  const words = wordsOf(scale), device = { device: "gpu" } as const;
  const resident = await Field.open(words, STEPS, 1, device);
  const roundTrip = await Field.open(words, STEPS, STEPS, device);
  const twin = await Field.open(words, STEPS, STEPS, { device: "cpu" });
  try {
    const onGpu = await interleave(() => resident.run(), () => roundTrip.run(), rounds);
    const onCpu = await interleave(() => resident.run(), () => twin.run(), rounds);
    // The resident one has run in both.
    for (let round = 0; round < 2 * (rounds + 2); round++) {
      await roundTrip.run();
      await twin.run();
    }
    const hashes = [resident, roundTrip, twin].map((field) => field.hash());
    const isSame = new Set(hashes).size === 1, what = `${STEPS} steps of ${words} words`;
    const common = { target: "", met: isSame, hash: isSame ? hashes[0] : hashes.join(" differs ") };
    const perStep = (time: number) => ms(1000 * time / STEPS);
    const figures = { ...deviceOf(adapter), words, steps: STEPS };
    return [
      {
        subject: subjectOf(
          `${what} in one recorded sequence, against a tick and a read-back each`,
          adapter,
        ),
        ours: `${perStep(onGpu.ours)} a step`,
        peer: `${perStep(onGpu.peer)} a step`,
        ratio: onGpu.ratio,
        spread: onGpu.spread,
        ...common,
        figures: {
          ...figures,
          residentMs: 1000 * onGpu.ours / STEPS,
          roundTripMs: 1000 * onGpu.peer / STEPS,
        },
      },
      {
        subject: subjectOf(
          `${what} in one recorded sequence, against the twin on the CPU`,
          adapter,
        ),
        ours: `${perStep(onCpu.ours)} a step`,
        peer: `CPU ${perStep(onCpu.peer)} a step`,
        ratio: onCpu.ratio,
        spread: onCpu.spread,
        ...common,
        figures: {
          ...figures,
          residentMs: 1000 * onCpu.ours / STEPS,
          cpuMs: 1000 * onCpu.peer / STEPS,
        },
      },
    ];
  } finally {
    for (const field of [resident, roundTrip, twin]) await field.close();
  }
}

/** Only what changed of a page goes up, beside all of it. */
async function dirtyRow({ thread, adapter, rounds, scale }: Measured): Promise<Row> {
  const words = wordsOf(scale), device = { device: "gpu" } as const;
  const ranges = await ReadWhole.open(words, false, device);
  const whole = await ReadWhole.open(words, true, device);
  try {
    const bytes: number[] = [];
    for (const side of [ranges, whole]) {
      await side.run(1);
      const before = await uploadedBytes(thread);
      await side.run(TICKS);
      bytes.push((await uploadedBytes(thread) - before) / TICKS);
    }
    const measured = await interleave(() => ranges.run(TICKS), () => whole.run(TICKS), rounds);
    const hashes = [ranges.hash(), whole.hash()], isSame = hashes[0] === hashes[1];
    const perTick = (time: number, i: number) =>
      `${ms(1000 * time / TICKS)} a tick, ${Math.round(bytes[i]).toLocaleString("en")} B up`;
    return {
      subject: subjectOf(
        `a rule reads ${words} words of which 16 change: dirty ranges against whole pages`,
        adapter,
      ),
      ours: perTick(measured.ours, 0),
      peer: perTick(measured.peer, 1),
      ratio: measured.ratio,
      spread: measured.spread,
      target: "",
      met: isSame && bytes[0] < bytes[1],
      hash: isSame ? hashes[0] : hashes.join(" differs from "),
      figures: {
        ...deviceOf(adapter),
        words,
        rangesMs: 1000 * measured.ours / TICKS,
        wholeMs: 1000 * measured.peer / TICKS,
        rangesBytes: bytes[0],
        wholeBytes: bytes[1],
      },
    };
  } finally {
    await ranges.close();
    await whole.close();
  }
}
