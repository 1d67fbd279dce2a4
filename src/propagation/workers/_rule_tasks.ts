/**
 * Rule tasks: runs the rules of a plan on a thread that writes into no page.
 *
 * Before a run the outputs and the state of its rule are copied, and the rule writes into the copies. What it has
 * changed then stands in the thread's own buffer, run by run: the rule's place in the plan and the words that follow;
 * for each span the row of the page, the first word in the page, the number of words, and the words. The same
 * cursors note the same spans as on the thread of the bus.
 *
 * Cost: beside the run, the copies (a word of an output 1 to 2 ns), and 5 ns a word changed.
 */

import { assert, isMmsbError, MmsbError, reasonOf } from "../../base/mod.ts";
import { ADDRESS_BYTES, memoryOf, PageTable, SharedArena } from "../../physical/mod.ts";
import { monotonicNowMs } from "../../temporal/mod.ts";
import { NEEDS_FULL } from "../bound_rule.ts";
import { ChangeLog } from "../change_log.ts";
import { Firing, type FiringProgram } from "../firing.ts";
import { LASTING, PLACE_WORDS } from "../program.ts";
import type { Rule } from "../rule.ts";
import { frozen } from "../rule_params.ts";
import * as words from "./_rule_words.ts";

const { PART } = words;
/** Bytes that copies of the outputs of one rule may take. */
const COPIES_BYTES_MAX = 2 ** 30;
/** Words that one run may note: a rule that never ends must not take all memory. */
const LOG_WORDS_MAX = 2 ** 26;
/** Words in front of the spans of a run, and in front of the words of a span. */
export const RUN_HEAD = 2, SPAN_HEAD = 3;

/** A program as a thread has it. */
interface LocalProgram extends FiringProgram {
  readonly number: number;
}

type ProgramNews = Extract<words.RuleNews, { readonly kind: "program" }>;

const NO_TABLES = new Map<number, never>();
/** Names and pages are put into errors by the thread of the bus. */
const ANYONE = { name: "", parts: { outputIds: [0] } };

/** Does chunks of plans on one thread. */
export class RuleTasks {
  readonly #control: Int32Array;
  readonly #ticks: Float64Array;
  readonly #area: Int32Array;
  readonly #runs: Float64Array;
  readonly #buffer: SharedArrayBuffer;
  #changes: Int32Array;
  #used = 0;
  readonly #arena: SharedArena;
  readonly #table: PageTable;
  readonly #catchUp: () => void;
  readonly #copies = new SharedArena(COPIES_BYTES_MAX);
  readonly #log = new ChangeLog(LOG_WORDS_MAX);
  readonly #before = new ChangeLog();
  readonly #firing: Firing;
  /** Slots of the copies of the rule that runs. */
  #slots = new Int32Array(16);
  readonly #one = new Int32Array(1);
  /** Buffers by {@linkcode PART}, with their numbers. */
  readonly #parts: { number: number; array: Int32Array }[] = [];
  readonly #loaded: (Rule | undefined)[] = [];
  readonly #params = new Map<number, unknown>();
  #news: ProgramNews | undefined;
  #program: LocalProgram | undefined;
  #plan = 0;

  /** For one thread. */
  constructor({ control, area, changes, pages }: words.RuleWorkerStart) {
    this.#control = new Int32Array(control);
    this.#ticks = new Float64Array(control);
    this.#area = new Int32Array(area);
    this.#runs = new Float64Array(area);
    this.#buffer = changes;
    this.#changes = new Int32Array(changes, 0, changes.byteLength >> 2);
    const memory = memoryOf(pages);
    this.#arena = memory.arena;
    this.#table = new PageTable(Math.floor(memory.arena.limitBytes / ADDRESS_BYTES), memory.table);
    this.#catchUp = () => {
      memory.arena.catchUp();
      this.#table.catchUp();
    };
    const store = { arena: this.#arena, table: this.#table };
    this.#firing = new Firing(store, this.#log, this.#before);
  }

  /** Takes what was posted, but for code, which is the caller's to load. */
  take(news: Exclude<words.RuleNews, { readonly kind: "code" }>): void {
    if (news.kind === "buffer") {
      this.#parts[news.part] = { number: news.number, array: new Int32Array(news.buffer) };
      return;
    }
    const count = news.codes.length;
    for (const [rule, params] of news.params) this.#params.set(rule, frozen(params));
    if (this.#params.size > 2 * count) {
      const known = new Set(news.numbers);
      for (const rule of this.#params.keys()) if (!known.has(rule)) this.#params.delete(rule);
    }
    this.#news = news;
  }

  /** Makes the program that was told of last; its code may have come later than it. */
  #lay({ number, image, numbers, codes }: ProgramNews): void {
    this.#program = {
      number,
      image: image.slice(),
      code: Array.from(codes, (code) => this.#loaded[code - 1]),
      params: Array.from(numbers, (rule) => this.#params.get(rule) ?? null),
      tables: NO_TABLES,
      rules: new Array(codes.length).fill(ANYONE),
    };
  }

  /** Code that was loaded, or could not be, has the next number. */
  add(rule: Rule | undefined): void {
    this.#loaded.push(rule);
  }

  /** Whether all that a plan works on has come. */
  has(part: number, number: number): boolean {
    const found = part === PART.program ? this.#news : this.#parts[part];
    return found !== undefined && found.number >= number;
  }

  /**
   * Takes part in the plan that stands there, if any chunk is left.
   *
   * @param wait Reads what was posted until a part has come.
   */
  run(wait: (part: number, number: number) => void): void {
    const control = this.#control, plan = Atomics.load(control, words.W_PLAN);
    if (plan === this.#plan) return;
    let chunk = this.#claim(plan);
    if (chunk < 0) return;
    this.#begin(plan);
    const count = control[words.W_COUNT], size = control[words.W_CHUNK];
    const numbers = Object.values(PART).map((part) => control[words.W_PARTS + part]);
    numbers.forEach((number, part) => wait(part, number));
    if (this.#program?.number !== this.#news!.number) this.#lay(this.#news!);
    // Whatever is newer than the plan belongs to one that came after it was given up.
    if (this.#program!.number !== numbers[PART.program]) return;
    this.#before.words = this.#parts[PART.words].array;
    this.#before.heads = this.#parts[PART.heads].array;
    this.#log.reserveRows(this.#table);
    this.#firing.begin(this.#ticks[words.D_TICK], this.#program!);
    const rules = this.#parts[PART.rules].array;
    for (; chunk >= 0; chunk = this.#claim(plan)) {
      const first = chunk * size, end = Math.min(count, first + size);
      if (!this.#runChunk(chunk, rules, first, end)) {
        Atomics.store(control, words.W_HALT, plan);
        break;
      }
      this.#tell();
    }
    this.#firing.end();
    this.#tell();
  }

  /** Takes the next chunk of a plan; −1 where there is none. */
  #claim(plan: number): number {
    const control = this.#control;
    for (;;) {
      const cursor = Atomics.load(control, words.W_CURSOR), chunk = cursor & 0xffff;
      if (cursor !== words.cursorOf(plan, chunk) || chunk >= control[words.W_CHUNKS]) return -1;
      if (Atomics.load(control, words.W_HALT) === plan) return -1;
      const found = Atomics.compareExchange(control, words.W_CURSOR, cursor, cursor + 1);
      if (found === cursor) return chunk;
    }
  }

  #begin(plan: number): void {
    const area = this.#area;
    this.#plan = plan;
    this.#used = 0;
    area[words.A_CHUNKS] = 0;
    area[words.A_PLACE] = -1;
    area[words.A_FAILED] = 0;
    Atomics.store(area, words.A_PLAN, plan);
    this.#catchUp();
  }

  #runChunk(chunk: number, rules: Int32Array, first: number, end: number): boolean {
    const area = this.#area, from = this.#used, began = monotonicNowMs();
    for (let place = first; place < end; place++) {
      area[words.A_PLACE] = place;
      try {
        this.#runOne(rules[place] >>> 1, rules[place] & 1, place);
      } catch (error) {
        this.#log.clear();
        this.#fail(place, error);
        return false;
      }
    }
    this.#runs[words.D_RUNS] += end - first;
    this.#runs[words.D_BUSY_MS] += monotonicNowMs() - began;
    const done = area[words.A_CHUNKS], at = words.A_LIST + 3 * done;
    area[words.A_PLACE] = -1;
    area[at] = chunk;
    area[at + 1] = from;
    area[at + 2] = this.#used;
    Atomics.store(area, words.A_CHUNKS, done + 1);
    return true;
  }

  #runOne(rule: number, isFull: number, place: number): void {
    const { image } = this.#program!, one = this.#one, flags = rule << 4 | 8;
    this.#copyOutputs(rule);
    image[flags] = image[flags] & LASTING | (isFull !== 0 ? NEEDS_FULL : 0);
    one[0] = rule;
    this.#firing.run(one, 0, 1);
    if (this.#log.count > 0) this.#keep(rule, place);
  }

  #copyOutputs(rule: number): void {
    const { image } = this.#program!, record = rule << 4, first = image[record | 2];
    const count = image[record | 3] + (image[record | 9] >> 1);
    const table = this.#table, copies = this.#copies;
    if (count > this.#slots.length) this.#slots = new Int32Array(2 * count);
    const slots = this.#slots;
    let next = 0;
    for (let i = 0; i < count; i++) {
      slots[i] = next;
      next += (table.sizeOf(image[first + PLACE_WORDS * i]) + ADDRESS_BYTES - 1) / ADDRESS_BYTES |
        0;
    }
    copies.grow(next * ADDRESS_BYTES);
    const from = this.#arena.words, to = copies.words;
    for (let i = 0; i < count; i++) {
      const row = image[first + PLACE_WORDS * i],
        source = table.slot(row) << 2,
        target = slots[i] << 2;
      const length = ((table.sizeOf(row) + ADDRESS_BYTES - 1) / ADDRESS_BYTES | 0) << 2;
      for (let k = 0; k < length; k++) to[target + k] = from[source + k];
      this.#firing.redirect(rule, i, copies, slots[i]);
    }
  }

  /** Keeps what a run has changed, oldest span of each page first. */
  #keep(rule: number, place: number): void {
    const { heads, touched, count } = this.#log, old = this.#log.words;
    const { image } = this.#program!, first = image[rule << 4 | 2];
    this.#reserve(RUN_HEAD + this.#log.used);
    const to = this.#changes, copies = this.#copies.words, head = this.#used;
    let next = head + RUN_HEAD;
    for (let t = 0; t < count; t++) {
      const row = touched[t];
      let index = 0;
      while (image[first + PLACE_WORDS * index] !== row) index++;
      const base = this.#slots[index] << 2, from = next;
      for (let at = heads[row]; at !== 0; at = old[at + 3]) next += SPAN_HEAD + old[at + 2];
      let back = next;
      for (let at = heads[row]; at !== 0; at = old[at + 3]) {
        const word = old[at + 1], length = old[at + 2];
        back -= SPAN_HEAD + length;
        to[back] = row;
        to[back + 1] = word;
        to[back + 2] = length;
        for (let k = 0; k < length; k++) to[back + SPAN_HEAD + k] = copies[base + word + k];
      }
      assert(back === from, "spans fill their room");
    }
    to[head] = place;
    to[head + 1] = next - head - RUN_HEAD;
    this.#used = next;
    this.#log.clear();
  }

  #reserve(more: number): void {
    const needed = 4 * (this.#used + more);
    if (needed > this.#changes.byteLength) {
      if (needed > this.#buffer.maxByteLength) {
        throw new MmsbError("limit", "Cannot keep what rules of one level change: it is too much", {
          values: { bytes: needed },
        });
      }
      const doubled = Math.max(needed, 2 * this.#buffer.byteLength);
      this.#buffer.grow(Math.min(this.#buffer.maxByteLength, doubled));
      this.#changes = new Int32Array(this.#buffer, 0, this.#buffer.byteLength >> 2);
    }
  }

  #fail(place: number, error: unknown): void {
    const area = this.#area;
    writeError(area, isMmsbError(error, "rule") ? error.cause : error);
    area[words.A_PLACE] = -1;
    Atomics.store(area, words.A_FAILED, 1 + place);
  }

  /** Tells the thread of the bus that something is done. */
  #tell(): void {
    Atomics.add(this.#control, words.W_PROGRESS, 1);
    Atomics.notify(this.#control, words.W_PROGRESS);
  }
}

/** An error as it goes to the thread of the bus. */
interface ErrorText {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  /** What an MmsbError says besides. */
  readonly code?: string;
  readonly values?: Readonly<Record<string, unknown>>;
}

/** Writes an error into the text of an area, as much of it as has room. */
export function writeError(area: Int32Array, error: unknown): void {
  const message = reasonOf(error).slice(0, 2000);
  const name = error instanceof Error ? String(error.name).slice(0, 100) : typeof error;
  const plain: ErrorText = { name, message };
  const known = isMmsbError(error) ? { code: error.code, values: error.values } : {};
  const stack = error instanceof Error ? String(error.stack).slice(0, 4000) : undefined;
  for (const text of [{ ...plain, ...known, stack }, { ...plain, stack }, plain]) {
    try {
      const bytes = new TextEncoder().encode(JSON.stringify(text));
      if (bytes.length > words.TEXT_BYTES_MAX) continue;
      words.textOf(area).set(bytes);
      area[words.A_TEXT_BYTES] = bytes.length;
      return;
    } catch {
      // Values that JSON cannot say.
    }
  }
}

/** The error in the text of an area. */
export function readError(area: Int32Array): Error {
  const bytes = words.textOf(area).slice(0, area[words.A_TEXT_BYTES]);
  const { name, message, stack, code, values } = JSON.parse(
    new TextDecoder().decode(bytes),
  ) as ErrorText;
  const known = code === undefined ? undefined : code as MmsbError["code"];
  const error: Error = known === undefined
    ? Object.assign(new Error(message), { name })
    : new MmsbError(known, message, { values });
  if (stack !== undefined) error.stack = stack;
  return error;
}
