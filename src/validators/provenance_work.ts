/**
 * The work of the provenance validator: a graph of derived pages over many sources, written to through the
 * public API of a bus, and beside it a record of its own: what every page was after every tick that
 * changed it, worked out from what was written and not from the bus.
 *
 * Each layer's pages read some of the layer before. Most change whenever anything before them does; some
 * keep a few bits of a sum, so that they stay as they are while their inputs change, and a value's parents
 * then lie at many different ticks. Halfway some rules are bound again with another version.
 */

import type { Explanation, Page, RuleHandle, StateBus } from "../bus/mod.ts";
import { SeededRandom } from "../log/seeded_random.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { defineRule, type Rule } from "../propagation/mod.ts";
import { openBus } from "./device_run.ts";
import type { PlantedResult } from "./validator.ts";

/** How large it is. */
export interface ProvenancePlan {
  /** Source pages. */
  readonly sources: number;
  /** Layers of derived pages; as many steps it is from the last one to the sources. */
  readonly layers: number;
  /** Pages of a layer. */
  readonly width: number;
  /** Deltas of sources a tick. */
  readonly rows: number;
  /** Deltas in all, those of rules among them, at least. */
  readonly deltas: number;
  /** What it does depends on this alone. */
  readonly seed: number;
}

/** Inputs of a derived page. */
const INPUTS = 3;
const SOURCE_BYTES = 64;
const WRITE_BYTES = 16;
const FEEDS = 8;
/** Rules that are bound again halfway. */
const REBOUND = 8;
/** Ticks that may be on their way to the disk. */
const TICKS_AHEAD = 16;

/** What a page was, tick by tick; of a tick the last. */
class Record {
  readonly ticks: number[] = [];
  readonly epochs: number[] = [];
  /** Of sources the feed, the offset and the word that were written last, as one number. */
  readonly writes: number[] = [];
  epoch = 0;
  /** Its first word. */
  word = 0;

  note(tick: number): void {
    this.epoch++;
    if (this.ticks.at(-1) === tick) this.epochs[this.epochs.length - 1] = this.epoch;
    else {
      this.ticks.push(tick);
      this.epochs.push(this.epoch);
    }
  }

  /** Notes what the last change of a source wrote. */
  wrote(feed: number, offset: number, word: number): void {
    this.writes[this.ticks.length - 1] = (SOURCE_BYTES * feed + offset) * 2 ** 32 + word;
  }

  /** Index of the last change up to a tick, −1 for none. */
  at(tick: number): number {
    let low = 0, high = this.ticks.length;
    while (low < high) {
      const middle = low + high >>> 1;
      if (this.ticks[middle] <= tick) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/** A page of an explanation. */
type ExplainedPage = Explanation["root"];

interface Derived {
  readonly id: number;
  readonly name: string;
  /** Ids of its inputs. */
  readonly inputs: readonly number[];
  /** Bits of the sum that are left out. */
  readonly shift: number;
  /** From which tick on its rule has version 2. */
  rebound: number;
}

/** The graph, its bus and its record. */
export class ProvenanceWork {
  /** The bus that it is written to. */
  readonly bus: StateBus;
  /** Ids of the pages of the last layer. */
  readonly last: number[] = [];
  /** Deltas so far. */
  deltas = 0;
  readonly #plan: ProvenancePlan;
  readonly #random: SeededRandom;
  readonly #records = new Map<number, Record>();
  readonly #derived: Derived[] = [];
  readonly #byId = new Map<number, Derived>();
  readonly #handles: RuleHandle[] = [];
  #sources: number[] = [];

  private constructor(bus: StateBus, plan: ProvenancePlan) {
    this.bus = bus;
    this.#plan = plan;
    this.#random = new SeededRandom(plan.seed);
  }

  /** Makes the pages and binds the rules. */
  static async begin(dir: string, plan: ProvenancePlan): Promise<ProvenanceWork> {
    const work = new ProvenanceWork(await openBus({ dir }), plan);
    await work.#build();
    return work;
  }

  async #build(): Promise<void> {
    const { sources, layers, width } = this.#plan, { bus } = this;
    let before = Array.from({ length: sources }, () => bus.createPage({ size: SOURCE_BYTES }));
    this.#sources = before.map(({ id }) => id);
    await bus.tick();
    for (let layer = 1; layer <= layers; layer++) {
      const pages: Page[] = [];
      for (let at = 0; at < width; at++) {
        const name = `layer ${layer} page ${at}`, inputs = this.#inputsOf(before, layer, at);
        const page = bus.createPage({ size: 8, name });
        const shift = layer % 3 === 0 && at % 2 === 1 ? 30 : 0;
        const ids = inputs.map(({ id }) => id);
        const derived = { id: page.id, name, inputs: ids, shift, rebound: Infinity };
        this.#derived.push(derived);
        this.#byId.set(page.id, derived);
        this.#handles.push(bus.rule(ruleOf(shift, 1), { name, inputs, outputs: [page] }));
        pages.push(page);
      }
      before = pages;
    }
    this.last.push(...before.map(({ id }) => id));
    for (const id of [...this.#sources, ...this.#byId.keys()]) this.#records.set(id, new Record());
    await bus.tick();
  }

  /** Sources anywhere for the first layer, near pages of the layer before for the others. */
  #inputsOf(before: readonly Page[], layer: number, at: number): Page[] {
    const random = this.#random, inputs = new Set<Page>();
    while (inputs.size < INPUTS) {
      const reach = layer === 1 ? random.below(before.length) : at + random.below(5);
      inputs.add(before[reach % before.length]);
    }
    return [...inputs];
  }

  /** Writes until there are enough deltas. */
  async write(progress: (text: string) => void): Promise<void> {
    const { rows, deltas } = this.#plan, { bus } = this;
    const batch = new DeltaBatch({ rows, payloadBytes: rows * WRITE_BYTES });
    const payload = new Uint8Array(WRITE_BYTES), view = new DataView(payload.buffer);
    let isRebound = false;
    const coming: Promise<unknown>[] = [];
    for (let turn = 0; this.deltas < deltas; turn++) {
      if (!isRebound && this.deltas > deltas / 2) {
        isRebound = true;
        await this.#rebind();
      }
      batch.clear();
      const feed = turn % FEEDS, source = batch.source(`feed-${feed}`), tick = bus.tickNumber + 1;
      for (let row = 0; row < rows; row++) {
        const id = this.#sources[this.#random.below(this.#sources.length)];
        const offset = WRITE_BYTES * this.#random.below(SOURCE_BYTES / WRITE_BYTES);
        const word = this.#random.below(2 ** 32), record = this.#records.get(id)!;
        view.setUint32(0, word, true);
        batch.push(id, offset, payload, source);
        record.note(tick);
        record.wrote(feed, offset, word);
        if (offset === 0) record.word = word;
      }
      this.deltas += rows;
      const receipt = bus.submit(batch);
      const { durable } = await bus.tick();
      coming.push(allOf([receipt, durable]));
      // The disk takes its time beside the next ticks.
      if (coming.length > TICKS_AHEAD) await coming.shift();
      this.#derive(tick);
      if (turn % 64 === 0) progress(`${this.deltas.toLocaleString("en")} deltas written`);
    }
    await Promise.all(coming);
  }

  async #rebind(): Promise<void> {
    const tick = this.bus.tickNumber + 1, step = Math.floor(this.#derived.length / REBOUND);
    const some = this.#derived.flatMap((derived, at) => at % step === 0 ? [{ derived, at }] : []);
    for (const { derived: { id, name, inputs, shift }, at } of some) {
      this.#handles[at].unbind();
      const outputs = [this.bus.page(id)], pages = inputs.map((input) => this.bus.page(input));
      this.#handles[at] = this.bus.rule(ruleOf(shift, 2), { name, inputs: pages, outputs });
    }
    await this.bus.tick();
    for (const { derived } of some) derived.rebound = tick;
    this.#derive(tick);
  }

  /** What the rules make of the words, worked out in order of layers. */
  #derive(tick: number): void {
    for (const { id, inputs, shift, rebound } of this.#derived) {
      const record = this.#records.get(id)!;
      let sum = tick >= rebound ? 1 : 0;
      for (const input of inputs) sum = (sum + this.#records.get(input)!.word) % 2 ** 32;
      const word = Math.floor(sum / 2 ** shift);
      if (word === record.word) continue;
      record.word = word;
      record.note(tick);
      this.deltas++;
    }
  }

  /** What is wrong with an explanation, "" for nothing. */
  faultOf(explanation: Iterable<ExplainedPage>, root: number, tick: number): string {
    const expected = new Map<number, { id: number; at: number; changed: number }>();
    const open = [{ id: root, asOf: tick }];
    for (const { id, asOf } of open) {
      const { ticks } = this.#records.get(id)!, at = this.#records.get(id)!.at(asOf);
      const changed = ticks[at] ?? 0, key = keyOf(id, changed);
      if (expected.has(key)) continue;
      expected.set(key, { id, at, changed });
      if (at < 0) continue;
      for (const input of this.#byId.get(id)?.inputs ?? []) open.push({ id: input, asOf: changed });
    }
    for (const page of explanation) {
      const { id, tick: changed = 0 } = page, key = keyOf(id, changed), known = expected.get(key);
      if (known === undefined) return `page ${id} at ${changed} is no part of it`;
      expected.delete(key);
      const fault = this.#pageFault(page, known.at);
      if (fault !== "") return `page ${id} at ${changed}: ${fault}`;
    }
    const [missing] = expected.values();
    return missing === undefined ? "" : `page ${missing.id} at ${missing.changed} is missing`;
  }

  /** Plants faults in a right explanation: each must be told, with its page. */
  plantIn(explanation: Explanation, root: number): PlantedResult[] {
    const pages = [...explanation], { tick } = explanation;
    const isClean = this.faultOf(pages, root, tick) === "";
    const derived = pages.find(({ id, parents }) => id !== root && parents.length > 1)!;
    const source = pages.find(({ deltas, parents }) => parents.length === 0 && deltas.length > 0)!;
    const { parents, epoch, rule } = derived, [delta] = source.deltas;
    const found = (
      id: string,
      page: ExplainedPage,
      edit: Partial<ExplainedPage>,
      words: string,
    ) => {
      const changed = pages.map((one) => one === page ? { ...page, ...edit } : one);
      const fault = this.faultOf(changed, root, tick);
      const isTold = fault.startsWith(`page ${page.id} at `) && fault.includes(words);
      return { id, found: isClean && isTold };
    };
    const stranger = { deltas: [{ ...delta, source: "feed-x" }] };
    return [
      found("provenance-parent", derived, { parents: parents.slice(1) }, "parents "),
      found("provenance-epoch", derived, { epoch: epoch + 1 }, `epoch ${epoch + 1}`),
      found("provenance-rule", derived, { rule: { ...rule!, name: "other" } }, "rule other"),
      found("provenance-source", source, stranger, "feed-x"),
      found("provenance-delta", source, { deltas: [] }, "no delta"),
      { id: "provenance-later", found: isClean && this.faultOf(pages, root, 3) !== "" },
    ];
  }

  #pageFault(page: ExplainedPage, at: number): string {
    const record = this.#records.get(page.id)!, derived = this.#byId.get(page.id);
    if (page.end !== undefined) return `it ends: ${page.end}`;
    if (page.epoch !== (record.epochs[at] ?? 0)) {
      return `epoch ${page.epoch}, not ${record.epochs[at] ?? 0}`;
    }
    if (at < 0) return page.kind === "unwritten" ? "" : `it is ${page.kind}`;
    if (derived === undefined) {
      const write = record.writes[at], place = Math.floor(write / 2 ** 32), [delta] = page.deltas;
      if (delta === undefined) return "no delta is told";
      const feed = Math.floor(place / SOURCE_BYTES), offset = place % SOURCE_BYTES;
      const bytes = delta.after!, after = new DataView(bytes.buffer, bytes.byteOffset);
      const isSame = delta.source === `feed-${feed}` && delta.offset === offset &&
        after.getUint32(0, true) === write % 2 ** 32;
      return isSame ? "" : `its newest delta is of ${delta.source} at ${delta.offset}`;
    }
    const { name, inputs, rebound } = derived, tick = record.ticks[at];
    const version = tick >= rebound ? 2 : 1;
    if (page.rule?.name !== name || page.rule.version !== version) {
      return `rule ${page.rule?.name} version ${page.rule?.version}, not ${version}`;
    }
    const wanted = inputs.map((input) => keyOf(input, this.#changedBy(input, tick)));
    const parents = page.parents.map((parent) => keyOf(parent.id, parent.tick ?? 0));
    const isSame = parents.length === wanted.length && parents.every((key, i) => key === wanted[i]);
    return isSame ? "" : `parents ${parents.map(keyText)}, not ${wanted.map(keyText)}`;
  }

  /** The last tick up to another one that changed a page, 0 for none. */
  #changedBy(id: number, asOf: number): number {
    const record = this.#records.get(id)!;
    return record.ticks[record.at(asOf)] ?? 0;
  }
}

/** A page as one tick left it, as a number: here ids stay below 2^21. */
function keyOf(id: number, tick: number): number {
  return id * 2 ** 32 + tick;
}

function keyText(key: number): string {
  return `${Math.floor(key / 2 ** 32)} at ${key % 2 ** 32}`;
}

/** All of them; who waits for it later is told of a failure then. */
function allOf(promises: readonly Promise<unknown>[]): Promise<unknown> {
  const all = Promise.all(promises);
  all.catch(() => {});
  return all;
}

/** The sum of the first words of the inputs, without its lowest bits. */
function ruleOf(shift: number, version: number): Rule {
  return defineRule({
    version,
    compute(ctx) {
      let sum = version - 1;
      for (let at = 0; at < INPUTS; at++) sum = sum + ctx.input(at).getUint32(0) >>> 0;
      ctx.output(0).setUint32(0, sum >>> shift);
    },
  });
}
