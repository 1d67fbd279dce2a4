/**
 * Rule jobs: shaders of rules, compiled once, and run over copies of pages in the GPU thread.
 *
 * A job is all the shaders of one level: their pages are brought into step together, all that is to be run goes to the
 * device in one submission, and what they have written comes back in one read: whole pages, or of each the blocks that
 * changed. What is bound stays bound from tick to tick, as long as the pages keep their buffers. With many steps the host
 * looks in now and then, so that a long run says that it goes on and only one that hangs is given up.
 *
 * Cost: some 10 µs a rule for encoding, the changed ranges up, the written pages or their changed blocks down.
 */

import { alignUp, isMmsbError, MmsbError } from "../../base/mod.ts";
import { monotonicNowMs } from "../../temporal/mod.ts";
import type { JobReader, JobWriter } from "./_channel.ts";
import { ChangeFinder } from "./_rule_changes.ts";
import type { GpuAsk } from "./_thread_words.ts";
import type { PageLease } from "./device_pages.ts";
import type { GpuEngine } from "./gpu_engine.ts";
import { readPages } from "./page_list.ts";
import { BLOCK_WORDS } from "./kernels/changed_blocks.ts";
import type { ReadBack } from "./read_back.ts";
import { type BufferPart, RecordedSequence, type SequenceCommand } from "./recorded_sequence.ts";

/** What a binding of a rule's shader is to the device. */
export type RuleAccess = "read" | "write" | "uniform";

/** Asks for a shader to be compiled. */
export interface RuleAsk extends GpuAsk {
  /** Always `rule`. */
  readonly kind: "rule";
  /** The number that jobs call it by. */
  readonly number: number;
  /** Name of a rule that has it, for messages. */
  readonly label: string;
  /** WGSL, with all that it names. */
  readonly text: string;
  /** Lines of it that are the user's. */
  readonly lines: number;
  /** Name of the entry. */
  readonly entry: string;
  /** Bindings in their order: the pages, then the uniforms. */
  readonly access: readonly RuleAccess[];
  /** For each page the number of the output's binding that it is a copy of, −1 where it is none. */
  readonly copyOf: readonly number[];
  /** Number of the tick's binding, −1 where there is none. */
  readonly tick: number;
  /** Number of the parameters' binding, −1 where there is none. */
  readonly params: number;
  /** Invocations of a workgroup. */
  readonly workgroup: readonly number[];
  /** Workgroups. */
  readonly groups: readonly number[];
}

/** Shaders that nobody has any more. */
export interface RuleEndAsk extends GpuAsk {
  /** Always `rule-end`. */
  readonly kind: "rule-end";
  /** Their numbers. */
  readonly numbers: readonly number[];
}

/** A shader that is ready to run. */
interface CompiledRule {
  readonly ask: RuleAsk;
  readonly layout: GPUBindGroupLayout;
  readonly pipeline: GPUComputePipeline;
}

/** A rule to be run, as a job says it. */
interface RuleRun {
  readonly shader: CompiledRule;
  /** Number of the rule in its directory. */
  readonly rule: number;
  readonly isChecked: boolean;
  readonly steps: number;
  readonly tick: number;
  readonly params: Int32Array<SharedArrayBuffer>;
  /** For each binding of a page its place in the list of pages. */
  readonly places: Int32Array;
  /** For each page that is written the changed blocks that there is room for; 0 where it comes back whole. */
  readonly capacities: Int32Array;
}

/** What stays bound from tick to tick. */
interface BoundRun {
  readonly shader: CompiledRule;
  /** By number of the binding: pages, and copies of outputs. */
  readonly parts: readonly BufferPart[];
  /** One step. */
  readonly step: RecordedSequence;
  /** Buffers that are no pages: copies of outputs, the uniform. */
  readonly own: readonly GPUBuffer[];
  readonly uniform: GPUBuffer | undefined;
  /** For each page that is written what finds its changes, where only they came back so far. */
  readonly finders: (ChangeFinder | undefined)[];
}

/** Where the parameters begin in a uniform: what every device accepts as an offset. */
const PARAMS_AT = 256;
/** Bytes of a uniform: the tick, and room for 256 parameters. */
const UNIFORM_BYTES: number = PARAMS_AT + 1024;
/** Bytes of the tick: one word in the smallest binding. */
const TICK_BYTES = 16;
/** Smallest buffer for what comes back. */
const BACK_BYTES_MIN = 65_536;
/** Steps before the first look whether the device goes on: those of so many invocations, and how many at most. */
const INVOCATIONS_FIRST = 2 ** 22, STEPS_MAX = 4096;
/** A part of a run that took less is followed by one that is twice as long. */
const PART_MS = 50;
/** Rules that stay bound; the one that was bound first goes. */
const BOUND_MAX = 4096;

/** Shaders of one device, and what is bound. */
class RuleShaders {
  readonly compiled = new Map<number, CompiledRule>();
  /** By arena and number of the rule. */
  readonly bound = new Map<string, BoundRun>();
  back: ReadBack | undefined;

  static of(engine: GpuEngine): RuleShaders {
    const kept = engine.kept.get("rules") as RuleShaders | undefined;
    if (kept !== undefined) return kept;
    const made = new RuleShaders();
    engine.kept.set("rules", made);
    return made;
  }

  forget(engine: GpuEngine, key: string): void {
    const bound = this.bound.get(key);
    for (const user of bound === undefined ? [] : [bound, ...bound.finders]) {
      for (const buffer of user?.own ?? []) engine.pool.release(buffer);
    }
    this.bound.delete(key);
  }
}

/**
 * Compiles a shader; handler of {@linkcode RuleAsk}.
 *
 * @throws {MmsbError} `usage` where it does not compile, `limit` where it needs more than the device has.
 */
export async function compileRule(engine: GpuEngine, ask: RuleAsk): Promise<void> {
  checkLimits(engine, ask);
  const { device } = engine;
  const layout = await device.checked(
    `lay out shader "${ask.label}"`,
    () =>
      device.device.createBindGroupLayout({
        entries: ask.access.map((access, binding) => ({
          binding,
          visibility: GPUShaderStage.COMPUTE,
          buffer: { type: BUFFER_TYPES[access] },
        })),
      }),
  );
  const pipelineLayout = device.device.createPipelineLayout({ bindGroupLayouts: [layout] });
  try {
    const { text, entry, label } = ask;
    const pipeline = await device.pipeline(text, { entry, label, layout: pipelineLayout });
    RuleShaders.of(engine).compiled.set(ask.number, { ask, layout, pipeline });
  } catch (error) {
    throw isMmsbError(error, "usage") ? ofUser(error, ask) : error;
  }
}

/** Forgets shaders; handler of {@linkcode RuleEndAsk}. */
export function endRules(engine: GpuEngine, { numbers }: RuleEndAsk): void {
  const shaders = RuleShaders.of(engine);
  for (const number of numbers) shaders.compiled.delete(number);
  for (const [key, { shader }] of shaders.bound) {
    if (numbers.includes(shader.ask.number)) shaders.forget(engine, key);
  }
}

/** Forgets what is bound to pages of an arena that is gone. */
export function forgetRuleArena(engine: GpuEngine, arena: number): void {
  const shaders = RuleShaders.of(engine);
  for (const key of [...shaders.bound.keys()]) {
    if (key.startsWith(`${arena} `)) shaders.forget(engine, key);
  }
}

const BUFFER_TYPES: Readonly<Record<RuleAccess, GPUBufferBindingType>> = {
  read: "read-only-storage",
  write: "storage",
  uniform: "uniform",
};

/** Refuses by name what the device would refuse in its own words, or not at all. */
function checkLimits({ device }: GpuEngine, { label, access, workgroup, groups }: RuleAsk): void {
  const { limits } = device.adapter;
  const check = (what: string, count: number, limit: string, max: number | undefined) => {
    if (max === undefined || count <= max) return;
    throw new MmsbError(
      "limit",
      `Cannot run shader "${label}" as it has ${count} ${what}: this device has ${max} at most`,
      { values: { shader: label, limit, count, max } },
    );
  };
  const storage = access.filter((one) => one !== "uniform").length;
  check(
    "pages",
    storage,
    "maxStorageBuffersPerShaderStage",
    limits.maxStorageBuffersPerShaderStage,
  );
  const [x, y, z] = workgroup;
  check(
    "invocations in a workgroup",
    x * y * z,
    "maxComputeInvocationsPerWorkgroup",
    limits.maxComputeInvocationsPerWorkgroup,
  );
  check("invocations in x", x, "maxComputeWorkgroupSizeX", limits.maxComputeWorkgroupSizeX);
  check("invocations in y", y, "maxComputeWorkgroupSizeY", limits.maxComputeWorkgroupSizeY);
  check("invocations in z", z, "maxComputeWorkgroupSizeZ", limits.maxComputeWorkgroupSizeZ);
  groups.forEach((count, i) =>
    check(
      `workgroups in ${"xyz"[i]}`,
      count,
      "maxComputeWorkgroupsPerDimension",
      limits.maxComputeWorkgroupsPerDimension,
    )
  );
}

/** A compiler's message about what stands behind the user's code is about a name of ours that the code declares too. */
function ofUser(error: MmsbError, { label, lines }: RuleAsk): MmsbError {
  const { line } = error.values;
  if (typeof line !== "number" || line <= lines) return error;
  return new MmsbError(
    "usage",
    `Cannot compile shader "${label}": ${error.values.text} (in the declarations of pages, params and tick, which stand behind the code)`,
    { values: { ...error.values, line: 0, column: 0 } },
  );
}

/** Runs the shaders of a level; handler of RULE_JOB. */
export async function ruleJob(engine: GpuEngine, job: JobReader, result: JobWriter): Promise<void> {
  const arena = job.word(), list = readPages(job);
  const runs = readRuns(engine, job);
  const lease = await engine.pages.use(arena, job.arena(arena), list);
  try {
    const bound: BoundRun[] = [];
    for (const run of runs) bound.push(await bind(engine, arena, run, lease));
    result.word(lease.upload.bytes);
    await runAll(engine, job, runs, bound, result);
    lease.written();
  } finally {
    lease.release();
  }
}

function readRuns(engine: GpuEngine, job: JobReader): RuleRun[] {
  const { compiled } = RuleShaders.of(engine), runs: RuleRun[] = [], count = job.word();
  for (let i = 0; i < count; i++) {
    const shader = compiled.get(job.word());
    if (shader === undefined) {
      throw new MmsbError("gpu", "Cannot run a shader that this device has not compiled yet", {
        values: { isUncompiled: true },
      });
    }
    runs.push({
      shader,
      rule: job.word(),
      isChecked: job.word() !== 0,
      steps: job.word(),
      tick: job.word(),
      params: job.words(),
      places: job.words(),
      capacities: job.words(),
    });
  }
  return runs;
}

/** Binds the pages of a rule, or finds that they are bound already. */
async function bind(
  engine: GpuEngine,
  arena: number,
  { shader, rule, places, tick, params, capacities }: RuleRun,
  lease: PageLease,
): Promise<BoundRun> {
  const shaders = RuleShaders.of(engine), key = `${arena} ${rule}`, { ask } = shader;
  let bound = shaders.bound.get(key);
  const isSame = bound !== undefined && bound.shader === shader &&
    [...places].every((place, i) => {
      const copy = lease.copies[place], { buffer, bytes } = bound!.parts[i];
      return bytes === copy.bytes && (ask.copyOf[i] >= 0 || buffer === copy.buffer);
    });
  if (!isSame) {
    shaders.forget(engine, key);
    if (shaders.bound.size >= BOUND_MAX) {
      shaders.forget(engine, shaders.bound.keys().next().value!);
    }
    bound = await newBound(engine, shader, places, lease);
    shaders.bound.set(key, bound);
  }
  writeUniform(engine, bound!, tick, params);
  await prepareFinders(engine, bound!, capacities);
  return bound!;
}

/** Has what finds changes ready, for the pages of which only they come back. */
async function prepareFinders(
  engine: GpuEngine,
  { shader: { ask }, parts, finders }: BoundRun,
  capacities: Int32Array,
): Promise<void> {
  let page = -1;
  for (let binding = 0; binding < parts.length; binding++) {
    if (ask.access[binding] !== "write") continue;
    const capacity = capacities[++page];
    if (capacity === 0) continue;
    let finder = finders[page];
    if (finder === undefined || finder.room < capacity) {
      for (const buffer of finder?.own ?? []) engine.pool.release(buffer);
      finders[page] = undefined;
      finder = await ChangeFinder.of(engine, parts[binding], capacity, ask.label);
      finders[page] = finder;
    }
    finder.setCapacity(engine, capacity);
  }
}

async function newBound(
  { device, pool }: GpuEngine,
  shader: CompiledRule,
  places: Int32Array,
  { copies }: PageLease,
): Promise<BoundRun> {
  const { ask, layout, pipeline } = shader, own: GPUBuffer[] = [];
  const take = async (bytes: number, usage: number) => {
    const buffer = await pool.acquire(bytes, usage | GPUBufferUsage.COPY_DST, ask.label);
    own.push(buffer);
    return buffer;
  };
  try {
    const parts: BufferPart[] = [], commands: SequenceCommand[] = [];
    for (let binding = 0; binding < places.length; binding++) {
      const { buffer, bytes } = copies[places[binding]];
      const isCopy = ask.copyOf[binding] >= 0;
      parts.push({ buffer: isCopy ? await take(bytes, GPUBufferUsage.STORAGE) : buffer, bytes });
    }
    ask.copyOf.forEach((output, binding) => {
      if (output < 0) return;
      commands.push({ kind: "copy", source: parts[output], target: parts[binding] });
    });
    const bindings = [...parts];
    const hasUniform = ask.tick >= 0 || ask.params >= 0;
    const uniform = hasUniform ? await take(UNIFORM_BYTES, GPUBufferUsage.UNIFORM) : undefined;
    if (ask.tick >= 0) bindings.push({ buffer: uniform!, bytes: TICK_BYTES });
    if (ask.params >= 0) {
      bindings.push({ buffer: uniform!, offset: PARAMS_AT, bytes: UNIFORM_BYTES - PARAMS_AT });
    }
    const [x, y, z] = ask.groups;
    commands.push({ kind: "dispatch", pipeline, layout, bindings, groups: [x, y, z] });
    const step = await RecordedSequence.record(device, commands, ask.label);
    return { shader, parts, step, own, uniform, finders: [] };
  } catch (error) {
    for (const buffer of own) pool.release(buffer);
    throw error;
  }
}

function writeUniform(
  { device }: GpuEngine,
  { uniform }: BoundRun,
  tick: number,
  params: Int32Array<SharedArrayBuffer>,
): void {
  if (uniform === undefined) return;
  device.write(uniform, 0, Int32Array.of(tick));
  if (params.length > 0) device.write(uniform, PARAMS_AT, params);
}

/** Where a written page stands among what is read back. */
interface Written {
  readonly buffer: GPUBuffer;
  readonly bytes: number;
  readonly at: number;
  readonly isCheck: boolean;
  /** Of a list of changed blocks: the page, and how many of them there is room for. */
  readonly list?: { readonly page: BufferPart; readonly capacity: number };
}

/**
 * Submits all runs, and reads what they have written: for each run its pages after the first step, if asked, and at the
 * end; behind them the pages of which more has changed than there was room for.
 */
async function runAll(
  engine: GpuEngine,
  job: JobReader,
  runs: readonly RuleRun[],
  bound: readonly BoundRun[],
  result: JobWriter,
): Promise<void> {
  const { device } = engine;
  const [written, bytes] = listWritten(runs, bound);
  const back = await readBackOf(engine, bytes);
  const steps = Math.max(...runs.map((run) => run.steps));
  let together = stepsFirst(runs), beganMs = monotonicNowMs();
  for (let from = 0, end = 0; from < steps; from = end) {
    end = Math.min(steps, from + together);
    await device.checked(`run ${runs.length} shaders`, () => {
      const encoder = device.device.createCommandEncoder();
      if (from === 0) eachFinder(runs, bound, ({ keep }) => keep.encode(encoder));
      runs.forEach((run, i) => {
        const keepFirst = () => copyWritten(encoder, written[i], back, true);
        encode(encoder, run, bound[i], from, end, keepFirst);
      });
      if (end === steps) {
        eachFinder(runs, bound, ({ find }) => find.encode(encoder));
        for (const pages of written) copyWritten(encoder, pages, back, false);
      }
      device.queue.submit([encoder.finish()]);
    });
    if (end < steps) {
      await lookIn(engine, back);
      job.goesOn();
      const nowMs = monotonicNowMs();
      if (nowMs - beganMs < PART_MS) together = Math.min(2 * together, STEPS_MAX);
      beganMs = nowMs;
    }
  }
  const target = result.bytes(bytes);
  if (bytes > 0) {
    const wait = back!.read(target);
    if (wait !== undefined) await wait;
  }
  await readOverfull(engine, written, target, result);
}

/** Steps before the first look: not so many that a slow device seems to stand still. */
function stepsFirst(runs: readonly RuleRun[]): number {
  let invocations = 0;
  for (const { shader: { ask: { groups, workgroup } } } of runs) {
    invocations += [...groups, ...workgroup].reduce((product, size) => product * size, 1);
  }
  return Math.max(1, Math.min(STEPS_MAX, Math.floor(INVOCATIONS_FIRST / invocations)));
}

/** Goes through what finds changes in these runs. */
function eachFinder(
  runs: readonly RuleRun[],
  bound: readonly BoundRun[],
  each: (finder: ChangeFinder) => void,
): void {
  runs.forEach(({ capacities }, i) =>
    capacities.forEach((capacity, page) => {
      if (capacity > 0) each(bound[i].finders[page]!);
    })
  );
}

/** Reads pages whole of which more blocks have changed than there was room for. */
async function readOverfull(
  engine: GpuEngine,
  written: readonly Written[][],
  target: Uint8Array,
  result: JobWriter,
): Promise<void> {
  const { device } = engine, pages: Written[] = [];
  let bytes = 0;
  for (const { at, list } of written.flat()) {
    if (list === undefined) continue;
    const [count] = new Int32Array(target.buffer, target.byteOffset + at, 1);
    if (count <= list.capacity) continue;
    pages.push({ ...list.page, at: bytes, isCheck: false });
    bytes = alignUp(bytes + list.page.bytes, 8);
  }
  const more = result.bytes(bytes);
  if (bytes === 0) return;
  const back = await readBackOf(engine, bytes);
  await device.checked("read pages that changed much", () => {
    const encoder = device.device.createCommandEncoder();
    copyWritten(encoder, pages, back, false);
    device.queue.submit([encoder.finish()]);
  });
  const wait = back.read(more);
  if (wait !== undefined) await wait;
}

/** Where all that is written will stand; every page begins at a multiple of 8. */
function listWritten(
  runs: readonly RuleRun[],
  bound: readonly BoundRun[],
): [pages: Written[][], bytes: number] {
  let at = 0;
  const all = runs.map(({ isChecked, capacities }, i) => {
    const pages: Written[] = [], { parts, finders, shader: { ask } } = bound[i];
    const add = ({ buffer, bytes }: BufferPart, isCheck: boolean, list?: Written["list"]) => {
      pages.push({ buffer, bytes, at, isCheck, list });
      at = alignUp(at + bytes, 8);
    };
    for (const isCheck of isChecked ? [true, false] : [false]) {
      let number = -1;
      parts.forEach((page, binding) => {
        if (ask.access[binding] !== "write") return;
        const capacity = isCheck ? 0 : capacities[++number];
        if (capacity === 0) return add(page, isCheck);
        const { list, packed } = finders[number]!;
        add(list, isCheck, { page, capacity });
        add({ buffer: packed.buffer, bytes: 4 * BLOCK_WORDS * capacity }, isCheck);
      });
    }
    return pages;
  });
  return [all, at];
}

/** Adds some steps of a run; behind the first one what it is checked by is put aside. */
function encode(
  encoder: GPUCommandEncoder,
  { steps, isChecked }: RuleRun,
  { step }: BoundRun,
  from: number,
  end: number,
  keepFirst: () => void,
): void {
  let first = from;
  if (isChecked && from === 0) {
    step.encode(encoder);
    keepFirst();
    first = 1;
  }
  const last = Math.min(end, steps);
  if (first < last) step.encode(encoder, last - first, first);
}

function copyWritten(
  encoder: GPUCommandEncoder,
  pages: readonly Written[],
  back: ReadBack,
  isCheck: boolean,
): void {
  for (const page of pages) {
    if (page.isCheck !== isCheck) continue;
    encoder.copyBufferToBuffer(page.buffer, 0, back.buffer, page.at, page.bytes);
  }
}

/** A buffer for what comes back, kept from job to job as long as it is large enough. */
async function readBackOf(engine: GpuEngine, bytes: number): Promise<ReadBack> {
  const shaders = RuleShaders.of(engine);
  if (shaders.back !== undefined && shaders.back.bytes >= bytes) return shaders.back;
  shaders.back?.destroy();
  shaders.back = undefined;
  const room = Math.max(BACK_BYTES_MIN, 2 ** Math.ceil(Math.log2(Math.max(bytes, 1))));
  const { maxBufferSize } = engine.device.adapter.limits;
  shaders.back = await engine.device.readBack(Math.min(room, maxBufferSize), "rules");
  return shaders.back;
}

/** Waits until the device has done what was submitted. */
async function lookIn(engine: GpuEngine, back: ReadBack): Promise<void> {
  engine.device.checkAlive("run shaders");
  const wait = back.read(new Uint8Array(4));
  if (wait !== undefined) await wait;
}
