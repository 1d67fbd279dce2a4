/**
 * One run of a rule on a bus of its own: random changes of its inputs that a seed alone decides, and what its
 * outputs are after each of them.
 *
 * The same run can be had in several forms: from changes or in full, among other pages that live a life of their own, on
 * a bus with workers, in another thread. Whatever the form, the outputs must have the same bytes after each round.
 */

import type { Page, StateBus, Table } from "../bus/mod.ts";
import { SeededRandom } from "../log/seeded_random.ts";
import { defineRule, type Rule } from "../propagation/mod.ts";
import { table } from "../schema/mod.ts";
import { GROUPS, INPUT_BYTES, INPUTS } from "./_purity_rules.ts";
import type { SideEffectWatch } from "./_purity_watch.ts";
import { openBus } from "./device_run.ts";
import type { MeasuredDevice } from "./validator.ts";

/** Pages that a faulty rule could hold on to. */
export interface Held {
  /** Live bytes of a page that is no input. */
  readonly stranger: Uint8Array;
  /** Live bytes of the first input. */
  readonly input: Uint8Array;
}

/** A rule that is put to the test. */
export interface PuritySubject {
  /** What it is, for people. */
  readonly name: string;
  /** Whether it reads pages or a table. */
  readonly reads: "pages" | "table";
  /** Gives the rule, for a bus; whatever it keeps from one bus to the next is kept, as in a module. */
  rule(held: Held): Rule;
  /** Name under which `_purity_rules.ts` exports it; without it only this thread can run it. */
  readonly export?: string;
  /** Whether it has state. */
  readonly hasState?: boolean;
  /** Its parameters, 7 if left out. */
  readonly params?: unknown;
}

/** Which form of a run. */
export interface PurityForm {
  /** Rounds of changes. */
  readonly rounds: number;
  /** What the changes are. */
  readonly seed: number;
  /** Computes everything in full. */
  readonly full?: boolean;
  /** Other pages come, change and go. */
  readonly unrelated?: boolean;
  /** Binds the rule by its module, on a bus with so many workers. */
  readonly workers?: number;
  /** Watches what the rule does beside its work. */
  readonly watch?: SideEffectWatch;
  /** Where the bus works, if not where the run around it says; a rule in WGSL runs its twin on the `cpu`. */
  readonly device?: MeasuredDevice;
}

const COLUMNS = { key: "u8", value: "i32" } as const;
const ROWS = table(COLUMNS);
type Rows = Table<typeof COLUMNS>;
const OUTPUT_BYTES = 64;
const MEMORY_BYTES = 2 ** 22;
const MODULE = new URL("./_purity_rules.ts", import.meta.url).href;

/** Runs a rule; gives its output after each round, as text. */
export async function runSubject(subject: PuritySubject, form: PurityForm): Promise<string[]> {
  const { workers = 0, device } = form, where = device === undefined ? {} : { device };
  await using bus = await openBus({ memoryLimitBytes: MEMORY_BYTES, workers, ...where });
  const run = new SubjectRun(bus, subject, form);
  return await run.rounds();
}

class SubjectRun {
  readonly #bus: StateBus;
  readonly #subject: PuritySubject;
  readonly #form: PurityForm;
  readonly #random: SeededRandom;
  /** What is not the rule's business draws from another stream. */
  readonly #other: SeededRandom;

  constructor(bus: StateBus, subject: PuritySubject, form: PurityForm) {
    this.#bus = bus;
    this.#subject = subject;
    this.#form = form;
    this.#random = new SeededRandom(form.seed);
    this.#other = new SeededRandom(form.unrelated ? ~form.seed : 1);
  }

  async rounds(): Promise<string[]> {
    const bus = this.#bus, { reads } = this.#subject, { rounds, unrelated } = this.#form;
    const stranger = bus.createPage({ size: 64 });
    if (unrelated) {
      for (let i = 0; i < 20; i++) bus.createPage({ size: 1 + this.#other.below(300) });
    }
    const pages = Array.from({ length: INPUTS }, () => bus.createPage({ size: INPUT_BYTES }));
    const rows = bus.createTable(ROWS), output = bus.createPage({ size: OUTPUT_BYTES });
    const state = bus.createPage({ size: OUTPUT_BYTES });
    this.#append(rows, 20);
    await bus.tick();
    this.#bind(stranger, reads === "table" ? [rows] : pages, { pages, output, state });
    await bus.tick();
    const outputs = [hex(output)];
    for (let round = 0; round < rounds; round++) {
      if (unrelated) this.#disturb(stranger);
      if (reads === "table") this.#changeTable(rows);
      else this.#changePages(pages);
      await bus.tick();
      outputs.push(hex(output));
    }
    return outputs;
  }

  #bind(
    stranger: Page,
    inputs: readonly (Page | Rows)[],
    { pages, output, state }: { pages: readonly Page[]; output: Page; state: Page },
  ): void {
    const { full, watch, workers } = this.#form, subject = this.#subject, bus = this.#bus;
    const options = {
      name: subject.name,
      inputs,
      outputs: [output],
      state: subject.hasState ? [state] : [],
      params: subject.params ?? 7,
    };
    if (workers !== undefined) {
      bus.rule(MODULE, { ...options, export: subject.export });
      return;
    }
    const held = { stranger: live(stranger), input: live(pages[0]) };
    const given = subject.rule(held), { version, compute, ...rest } = given;
    if (given.wgsl !== undefined) {
      bus.rule(given, options);
      return;
    }
    const rule = full
      ? defineRule({ version, compute })
      : defineRule({ version, compute, ...rest });
    const own = new Set([output.id, ...(subject.hasState ? [state.id] : [])]);
    bus.rule(watch === undefined ? rule : watch.wrap(rule, bus, own), options);
  }

  #changePages(pages: readonly Page[]): void {
    const random = this.#random;
    for (let left = 1 + random.below(3); left > 0; left--) {
      const page = pages[random.below(INPUTS)], offset = random.below(INPUT_BYTES);
      const length = 1 + random.below(Math.min(16, INPUT_BYTES - offset));
      page.write(offset, Uint8Array.from({ length }, () => random.next()));
    }
  }

  #changeTable(rows: Rows): void {
    const random = this.#random;
    if (random.chance(0.5)) this.#append(rows, 1 + random.below(30));
    for (let left = random.below(4); left > 0; left--) {
      const row = random.below(rows.length), value = random.next() | 0;
      rows.set(row, random.chance(0.5) ? { value } : { key: random.below(GROUPS), value });
    }
    if (random.chance(0.1)) rows.set(0, { value: random.below(2) });
  }

  #append(rows: Rows, count: number): void {
    const random = this.#random;
    rows.append({
      key: Array.from({ length: count }, () => random.below(GROUPS)),
      value: Array.from({ length: count }, () => random.next() | 0),
    });
  }

  /** Work that has nothing to do with the rule. */
  #disturb(stranger: Page): void {
    const random = this.#other, bus = this.#bus;
    stranger.write(0, Uint8Array.from({ length: 64 }, () => random.next()));
    const page = bus.createPage({ size: 1 + random.below(500) });
    page.write(0, Uint8Array.of(random.next()));
    if (random.chance(0.3)) Array.from({ length: 1000 }, (_, i) => ({ i }));
  }
}

function live(page: Page): Uint8Array {
  return page.view() as unknown as Uint8Array;
}

function hex(page: Page): string {
  return page.read().reduce((text, byte) => text + byte.toString(16).padStart(2, "0"), "");
}
