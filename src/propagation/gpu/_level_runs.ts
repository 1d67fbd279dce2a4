/**
 * Level runs: the shaders of a level as jobs for the GPU thread, and what comes back.
 *
 * A job has as many rules as write some 64 MiB, so that neither the device nor the memory between the threads has to hold
 * more than that of a level at a time. Pages that several rules read are listed once.
 */

import { alignUp, type MmsbError } from "../../base/mod.ts";
import type { JobReader, JobWriter } from "../../physical/gpu/gpu_thread.ts";
import {
  BLOCK_HEAD_WORDS,
  BLOCK_WORDS,
  blockCount,
} from "../../physical/gpu/kernels/changed_blocks.ts";
import { writePages } from "../../physical/gpu/page_list.ts";
import type { PageStore } from "../../physical/mod.ts";
import { ruleError } from "../firing.ts";
import { LASTING, PLACE_WORDS } from "../program.ts";
import { type RunFailure, runHere, type ShaderLevel } from "./_level_others.ts";
import { packedPage, type PageBlocks, putPage, wholePage } from "./_page_merge.ts";
import { keyOf, type RulePlan } from "./_rule_plans.ts";
import { TwinRun } from "./_twin_run.ts";
import { differenceError, firstDifference, firstInfinite } from "./shader_difference.ts";
import type { GpuRulesParts } from "./gpu_rules.ts";
import type { PlaceRole } from "./shader_layout.ts";
import type { ShaderElement } from "./rule_shader.ts";

/** Bytes that the rules of one job write. */
const JOB_BYTES_MAX = 2 ** 26;

/** A page that a shader writes. */
interface WrittenPage {
  readonly row: number;
  readonly words: number;
  readonly element: ShaderElement;
  /** Its place among the pages that the rule writes: outputs first, then state. */
  readonly place: number;
}

/** A rule that is run. */
interface ShaderRun {
  readonly plan: RulePlan;
  /** Its place in the queue, and its index in the program. */
  readonly place: number;
  readonly rule: number;
  readonly isChecked: boolean;
  /** Rows of the shader's pages, by binding. */
  readonly rows: readonly number[];
  readonly written: readonly WrittenPage[];
  /** For each of these the changed blocks that there is room for; 0 where the page comes back whole. */
  readonly capacities: readonly number[];
  /** The twin's first step, where it is checked, or what was wrong with it. */
  twin: TwinRun | undefined;
  failure: RunFailure | undefined;
}

/** What is counted. */
export interface RunCounts {
  /** Runs of rules. */
  runs: number;
  /** Steps of those. */
  steps: number;
  /** Runs that were checked. */
  checks: number;
  /** Runs of twins in the place of shaders. */
  twins: number;
  /** Bytes of pages that went to the device. */
  uploadedBytes: number;
  /** Bytes that came back. */
  readBytes: number;
}

/** The shaders of one level. */
export class LevelRuns {
  readonly #store: PageStore;
  readonly #parts: GpuRulesParts;
  readonly #level: ShaderLevel;
  readonly #counts: RunCounts;
  readonly #jobs: ShaderRun[][] = [];

  /** Takes the flags of all of them, as runs on this thread would. */
  constructor(
    store: PageStore,
    parts: GpuRulesParts,
    level: ShaderLevel,
    planOf: readonly (RulePlan | undefined)[],
    counts: RunCounts,
  ) {
    this.#store = store;
    this.#parts = parts;
    this.#level = level;
    this.#counts = counts;
    const { program: { image }, firing } = level;
    let bytes = 0;
    for (const place of level.places) {
      const rule = image[place], run = this.#newRun(place, rule, planOf[rule]!);
      const flagsAt = rule << 4 | 8, flags = image[flagsAt];
      if ((flags & ~LASTING) !== 0) {
        firing.taken.set(rule, flags & 0xff);
        image[flagsAt] = flags & LASTING;
      }
      const more = bytesOf(run);
      if (this.#jobs.length === 0 || bytes + more > JOB_BYTES_MAX) {
        this.#jobs.push([]);
        bytes = 0;
      }
      this.#jobs.at(-1)!.push(run);
      bytes += more;
    }
  }

  /** Number of jobs. */
  get jobs(): number {
    return this.#jobs.length;
  }

  /** Writes a job. */
  write(job: number, writer: JobWriter): void {
    const { arena, locations } = this.#parts, { log, firing, program } = this.#level;
    const runs = this.#jobs[job], placeOf = new Map<number, number>(), writes: number[] = [];
    for (const { rows } of runs) {
      for (const row of rows) if (!placeOf.has(row)) placeOf.set(row, placeOf.size);
    }
    for (const { written } of runs) {
      for (const { row } of written) writes.push(placeOf.get(row)!);
    }
    writer.word(arena);
    writePages(writer, locations.take([...placeOf.keys()], { log, writes }));
    writer.word(runs.length);
    for (const { plan, rule, isChecked, rows, capacities } of runs) {
      writer.word(plan.code!.number);
      writer.word(program.rules[rule].number);
      writer.word(isChecked ? 1 : 0);
      writer.word(plan.twins.shader.steps);
      writer.word(firing.tick | 0);
      writer.words(plan.params.length).set(plan.params);
      writer.words(rows.length).set(rows.map((row) => placeOf.get(row)!));
      writer.words(capacities.length).set(capacities);
    }
  }

  /** Runs the first steps of the twins that a job is checked against, while the device is at work. */
  runTwins(job: number): void {
    const { program, firing } = this.#level;
    for (const run of this.#jobs[job]) {
      if (!run.isChecked) continue;
      try {
        const { step } = run.plan.twins;
        run.twin = new TwinRun(this.#store, program, run.rule, step, firing.tick);
      } catch (error) {
        run.failure = { place: run.place, error };
      }
    }
  }

  /**
   * Puts what a job gave into the pages.
   *
   * @returns The first rule that failed.
   */
  put(job: number, result: JobReader): RunFailure | undefined {
    const { locations, thread: { totals, generation } } = this.#parts, { log } = this.#level;
    const counts = this.#counts, uploadedBytes = result.word();
    const back = new BackReader(result.bytes(), result.bytes());
    counts.uploadedBytes += uploadedBytes;
    totals.uploadedBytes += uploadedBytes;
    counts.readBytes += back.byteLength;
    totals.readBytes += back.byteLength;
    for (const run of this.#jobs[job]) {
      const { written, capacities, plan: { changed } } = run;
      const first = run.isChecked ? written.map(({ words }) => back.words(words)) : undefined;
      const last = written.map(({ row, words }, i) =>
        back.page(this.#store, row, words, capacities[i])
      );
      const failure = run.failure ?? (first && this.#check(run, first)) ??
        this.#checkFinite(run, last);
      if (failure !== undefined) return failure;
      written.forEach(({ row }, i) => {
        putPage(this.#store, log, row, last[i]);
        locations.inStep(row, log);
        changed[i] = Math.max(last[i].blocks.length, (changed[i] ?? 0) >>> 1);
      });
      if (run.isChecked) {
        run.plan.checkedOn = generation;
        counts.checks++;
      }
      const { steps } = run.plan.twins.shader;
      run.plan.runs++;
      run.plan.code!.losses = 0;
      counts.runs++;
      counts.steps += steps;
      totals.rules++;
      totals.steps += steps;
    }
    return undefined;
  }

  /** Runs the twins of a job whose device failed. */
  runOnCpu(job: number): RunFailure | undefined {
    const { firing } = this.#level;
    for (const { rule, place } of this.#jobs[job]) {
      const failure = runHere(firing, rule, place);
      if (failure !== undefined) return failure;
      this.#counts.twins++;
    }
    return undefined;
  }

  /** Notes why a job failed, where its rules had a part in that: they are not run there again. */
  fail(job: number, error: MmsbError): void {
    const { thread } = this.#parts, runs = this.#jobs[job];
    const hasEndedThread = error.values.threadsLost !== undefined;
    if (error.values.isUncompiled === true) {
      for (const { plan: { code } } of runs) {
        code!.state = "refused";
        code!.error = error;
      }
    }
    if (error.values.isLost === true) {
      for (const { plan: { code } } of runs) code!.losses++;
    }
    const isDevice = error.code === "gpu" && !hasEndedThread;
    if (isDevice) return;
    for (const { plan } of runs) {
      plan.failure = hasEndedThread
        ? `its shader was given up: ${error.message}`
        : `its run failed: ${error.message}`;
      plan.failedOn = hasEndedThread ? 0 : thread.generation;
      // A shader that hangs would have every device hang, and its compiler every device wait.
      if (hasEndedThread) thread.drop(keyOf(plan.code!.number));
    }
  }

  #newRun(place: number, rule: number, plan: RulePlan): ShaderRun {
    const { program } = this.#level, { image } = program;
    const { layout: { places }, twins: { shader }, runs } = plan;
    const outputs = image[rule << 4 | 3];
    const at = (role: PlaceRole, index: number) =>
      role === "input"
        ? program.inputStart(rule) + PLACE_WORDS * index
        : program.writtenStart(rule) + PLACE_WORDS * (role === "state" ? outputs + index : index);
    const written = places.filter(({ role }) => role === "output" || role === "state");
    const isDue = shader.checkEvery > 0 && runs % shader.checkEvery === 0;
    const isChecked = isDue || plan.checkedOn !== this.#parts.thread.generation;
    const isWhole = isChecked || program.rules[rule].parts.finite;
    return {
      plan,
      place,
      rule,
      isChecked,
      rows: places.map(({ role, index }) => image[at(role, index)]),
      written: written.map(({ role, index }) => ({
        row: image[at(role, index)],
        words: image[at(role, index) + 2] >>> 2,
        element: (role === "state" ? shader.state : shader.outputs)[index] ?? "u32",
        place: role === "state" ? outputs + index : index,
      })),
      capacities: written.map(({ role, index }, i) =>
        // Who looks at numbers of a page looks at all of them.
        isWhole ? 0 : capacityOf(image[at(role, index) + 2] >>> 2, plan.changed[i])
      ),
      twin: undefined,
      failure: undefined,
    };
  }

  /** Compares the first step with the twin's: what the shader does not name it leaves as it is. */
  #check(run: ShaderRun, pages: readonly Int32Array[]): RunFailure | undefined {
    const { table, arena } = this.#store, { twins: { shader } } = run.plan;
    for (const { row, words, element, place } of this.#writable(run.rule)) {
      const i = run.written.findIndex((page) => page.place === place);
      const base = table.slot(row) << 2;
      const now = i < 0 ? arena.words.subarray(base, base + words) : pages[i];
      const kind = i < 0 ? element : run.written[i].element;
      const twin = run.twin!.words(place, words);
      const difference = firstDifference(now, twin, kind, shader);
      if (difference === undefined) continue;
      return this.#failure(run, differenceError(table.ids[row], difference));
    }
    return undefined;
  }

  /** All pages that a rule may write, as words. */
  #writable(rule: number): WrittenPage[] {
    const { program } = this.#level, { image } = program, pages: WrittenPage[] = [];
    const end = program.writtenEnd(rule);
    for (let at = program.writtenStart(rule), place = 0; at < end; at += PLACE_WORDS, place++) {
      pages.push({ row: image[at], words: image[at + 2] >>> 2, element: "u32", place });
    }
    return pages;
  }

  /** Finds a number that is not finite where the binding asks for finite ones. */
  #checkFinite(run: ShaderRun, pages: readonly PageBlocks[]): RunFailure | undefined {
    const { program } = this.#level, { table, arena } = this.#store;
    if (!program.rules[run.rule].parts.finite) return undefined;
    for (let i = 0; i < pages.length; i++) {
      const { row, element, words } = run.written[i], base = table.slot(row) << 2;
      if (element !== "f32") continue;
      const before = arena.words.subarray(base, base + words);
      const error = firstInfinite(table.ids[row], pages[i].words, before);
      if (error !== undefined) return this.#failure(run, error);
    }
    return undefined;
  }

  #failure({ rule, place }: ShaderRun, cause: MmsbError): RunFailure {
    const { program: { rules }, firing } = this.#level, { name, parts } = rules[rule];
    return { place, error: ruleError(name, parts.outputIds[0], firing.tick, cause) };
  }
}

/** Room for some more blocks than changed lately, in powers of two; 0 where a whole page is not much more. */
function capacityOf(words: number, changed: number | undefined): number {
  const blocks = blockCount(words);
  if (changed === undefined) return 0;
  const room = 2 ** Math.ceil(Math.log2(Math.max(1, changed + (changed >>> 2))));
  return 2 * room <= blocks ? room : 0;
}

/** What came back of a job, page after page. */
class BackReader {
  readonly #bytes: Uint8Array;
  readonly #more: Uint8Array;
  #at = 0;
  #moreAt = 0;

  /** Of what was foreseen, and of pages that changed more than that. */
  constructor(bytes: Uint8Array, more: Uint8Array) {
    this.#bytes = bytes;
    this.#more = more;
  }

  /** Bytes of all. */
  get byteLength(): number {
    return this.#bytes.length + this.#more.length;
  }

  /** The next words. */
  words(count: number): Int32Array {
    const { buffer, byteOffset } = this.#bytes;
    const view = new Int32Array(buffer, byteOffset + this.#at, count);
    this.#at += alignUp(4 * count, 8);
    return view;
  }

  /** The next page. */
  page(store: PageStore, row: number, words: number, capacity: number): PageBlocks {
    if (capacity === 0) return wholePage(store, row, this.words(words));
    const list = this.words(BLOCK_HEAD_WORDS + blockCount(words));
    const packed = packedPage(list, this.words(BLOCK_WORDS * capacity), capacity, words);
    if (packed !== undefined) return packed;
    const { buffer, byteOffset } = this.#more;
    const view = new Int32Array(buffer, byteOffset + this.#moreAt, words);
    this.#moreAt += alignUp(4 * words, 8);
    return wholePage(store, row, view);
  }
}

function bytesOf({ written, isChecked }: ShaderRun): number {
  let bytes = 0;
  for (const { words } of written) bytes += alignUp(4 * words, 8);
  return isChecked ? 2 * bytes : bytes;
}
