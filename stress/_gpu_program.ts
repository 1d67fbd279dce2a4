/**
 * Random programs for a GPU: pages of 16 bytes to 1 MiB, batches of all kinds that collide, and rules in WGSL over them, which
 * come out the same on every bus, whatever its device does.
 *
 * What a tick does follows from the seed and the tick's number alone, so a process that was killed is gone on with by
 * another one. The rules compute exactly (integers, and floats that are sums and halves of small integers), so bytes and
 * logs must be equal with the shader and with its twin.
 */

import type { Page, StateBus } from "../src/bus/mod.ts";
import { SeededRandom } from "../src/log/seeded_random.ts";
import { type CombineOperation, type CombineType, DeltaBatch } from "../src/physical/mod.ts";
import type { RuleShader } from "../src/propagation/gpu/rule_shader.ts";
import { defineRule, type Rule, type RuleContext } from "../src/propagation/mod.ts";

/** What a program has. */
export interface GpuProgramOptions {
  /** Of all that is left to chance. */
  readonly seed: number;
  /** Whether some rules run in some ticks only; not where a process is killed, as a rule that is late is bound stale again. */
  readonly hasLateRules: boolean;
}

const SIZES: readonly number[] = [16, 17, 64, 100, 1024, 4096, 4099, 65_536];
const LARGE_BYTES = 2 ** 20;
const SOURCES = 24;
const OUTPUT_BYTES: readonly number[] = [16, 64, 256, 4096, 16_384];
const RULES = 10;
/** Rows of a batch that hits few words many times. */
const COLLIDING_ROWS = 5000;
const TYPES: readonly CombineType[] = ["i32", "u32", "f32"];
const OPERATIONS: readonly CombineOperation[] = ["add", "min", "max", "or", "and", "xor"];
const ODD_FLOATS = [0, -0, 1.5, -2.25, 1e38, -1e-38, 1e-45, NaN, Infinity, -Infinity];
/** A page that is not there. */
const BAD_PAGE = 4_000_000_000;

/** A rule with the pages that it reads and writes, by name. */
interface Bound {
  readonly name: string;
  readonly rule: Rule;
  readonly inputs: readonly string[];
  readonly output: { readonly name: string; readonly bytes: number };
  readonly state: string | undefined;
  readonly params: Readonly<Record<string, number>>;
  readonly every: number;
}

type Template = (
  threads: number,
  words: readonly number[],
) => Pick<Rule, "compute"> & { readonly wgsl: RuleShader; readonly hasState?: boolean };

function shader(body: string, threads: number, more: Partial<RuleShader> = {}): RuleShader {
  const code = `@compute @workgroup_size(32) fn main(@builtin(global_invocation_id) id: vec3u) {
  let at = id.x;
  if (at >= threads.x) { return; }
  ${body}
}`;
  return { code, threads, ...more };
}

/** Writes each word of the output. */
function each(ctx: RuleContext, threads: number, value: (at: number) => number): void {
  const output = ctx.output(0);
  for (let at = 0; at < threads; at++) output.setUint32(4 * at, value(at) >>> 0);
}

function word(ctx: RuleContext, input: number, at: number, words: number): number {
  return ctx.input(input).getUint32(4 * (at % words));
}

/** Each takes the words of its output and of its two inputs. */
const TEMPLATES: Readonly<Record<string, Template>> = {
  sum: (threads, [a, b]) => ({
    wgsl: shader(`output0[at] = input0[at % ${a}u] + input1[at % ${b}u] + params.plus;`, threads, {
      params: { plus: "u32" },
    }),
    compute: (ctx) => {
      const { plus } = ctx.params as { plus: number };
      each(ctx, threads, (at) => word(ctx, 0, at, a) + word(ctx, 1, at, b) + plus);
    },
  }),
  mix: (threads, [a, b]) => ({
    wgsl: shader(
      `output0[at] = (input0[at % ${a}u] ^ 0x9e3779b9u) * (input1[(at + 1u) % ${b}u] | 1u);`,
      threads,
    ),
    compute: (ctx) =>
      each(
        ctx,
        threads,
        (at) => Math.imul(word(ctx, 0, at, a) ^ 0x9e3779b9, word(ctx, 1, at + 1, b) | 1),
      ),
  }),
  least: (threads, [a, b]) => ({
    wgsl: shader(`output0[at] = min(input0[at % ${a}u], input1[at % ${b}u]);`, threads, {
      inputs: ["i32", "i32"],
      outputs: ["i32"],
    }),
    compute: (ctx) =>
      each(ctx, threads, (at) => Math.min(word(ctx, 0, at, a) | 0, word(ctx, 1, at, b) | 0)),
  }),
  spread: (threads, [a]) => ({
    wgsl: shader(
      `output0[at] = previous0[(at + 1u) % ${threads}u] * 3u + input0[at % ${a}u];`,
      threads,
      { steps: 4 },
    ),
    compute: (ctx) => {
      const old = Array.from({ length: threads }, (_, at) => ctx.output(0).getUint32(4 * at));
      each(ctx, threads, (at) => Math.imul(old[(at + 1) % threads], 3) + word(ctx, 0, at, a));
    },
  }),
  count: (threads, [a]) => ({
    hasState: true,
    wgsl: shader(
      `state0[at] = state0[at] + countOneBits(input0[at % ${a}u]);
  output0[at] = state0[at] ^ at;`,
      threads,
    ),
    compute: (ctx) => {
      const state = ctx.state(0);
      each(ctx, threads, (at) => {
        let count = state.getUint32(4 * at);
        for (let rest = word(ctx, 0, at, a); rest !== 0; rest &= rest - 1) count++;
        state.setUint32(4 * at, count >>> 0);
        return count ^ at;
      });
    },
  }),
  halves: (threads, [a]) => ({
    wgsl: shader(`output0[at] = f32(input0[at % ${a}u] & 0xffffu) * 0.5;`, threads, {
      outputs: ["f32"],
    }),
    compute: (ctx) => {
      for (let at = 0; at < threads; at++) {
        ctx.output(0).setFloat32(4 * at, (word(ctx, 0, at, a) & 0xffff) * 0.5);
      }
    },
  }),
};

/** A random program. */
export class GpuProgram {
  readonly #seed: number;
  readonly #sources: readonly { readonly name: string; readonly size: number }[];
  readonly #rules: readonly Bound[];

  /** Programs of one seed are the same. */
  constructor({ seed, hasLateRules }: GpuProgramOptions) {
    this.#seed = seed;
    const random = new SeededRandom(seed);
    this.#sources = Array.from({ length: SOURCES }, (_, index) => {
      const size = index === 0 ? LARGE_BYTES : SIZES[random.below(SIZES.length)];
      return { name: `s${index}`, size };
    });
    this.#rules = rulesOf(random, this.#sources, hasLateRules);
  }

  /**
   * Does what has to be done to have a bus at tick `to`, of which it has some ticks already.
   *
   * @param before Called before each tick.
   * @param after Called after each.
   */
  async run(
    bus: StateBus,
    to: number,
    { before, after }: {
      readonly before?: (tick: number) => Promise<void>;
      readonly after?: (tick: number) => void;
    } = {},
  ): Promise<void> {
    if (bus.tickNumber > 1) await this.#bind(bus);
    while (bus.tickNumber < to) {
      const tick = bus.tickNumber + 1;
      await before?.(tick);
      if (tick === 1) this.#create(bus);
      else if (tick === 2) await this.#bind(bus);
      const receipts = tick > 2 ? this.#write(bus, tick) : [];
      await bus.tick();
      if (bus.tickNumber !== tick) throw new Error(`tick ${tick} did not go as it should`);
      const refused = await Promise.all(receipts);
      if (refused.includes(false)) throw new Error(`the batches of tick ${tick} went another way`);
      after?.(tick);
    }
  }

  #create(bus: StateBus): void {
    for (const { name, size } of this.#sources) bus.createPage({ name, size });
    for (const { output: { name, bytes }, state } of this.#rules) {
      bus.createPage({ name, size: bytes });
      if (state !== undefined) bus.createPage({ name: state, size: bytes });
    }
  }

  async #bind(bus: StateBus): Promise<void> {
    const page = (name: string): Page => bus.find(name)!;
    const handles = this.#rules.map(({ name, rule, inputs, output, state, params, every }) =>
      bus.rule(rule, {
        name,
        inputs: inputs.map(page),
        outputs: [page(output.name)],
        state: state === undefined ? [] : [page(state)],
        params,
        ...(every === 1 ? {} : { mode: "batch" as const, every }),
      })
    );
    await Promise.all(handles.map(({ ready }) => ready));
  }

  /** Stages a write and submits batches, some of which must be refused; gives whether each went as it should. */
  #write(bus: StateBus, tick: number): Promise<boolean>[] {
    const random = new SeededRandom(
      Math.imul(this.#seed, 0x9e3779b1) ^ Math.imul(tick, 0x85ebca6b),
    );
    const pages = this.#sources.map(({ name, size }) => ({ id: bus.find(name)!.id, size }));
    // One source changes in each tick, so that some rule always runs.
    bus.page(pages[tick % SOURCES].id).write(0, Uint8Array.of(random.next(), random.next()));
    return Array.from({ length: 1 + random.below(3) }, (_, index) => {
      const isColliding = random.chance(0.15), isBad = !isColliding && random.chance(0.1);
      const batch = isColliding ? collidingBatch(random, pages) : randomBatch(random, pages, isBad);
      return bus.submit(batch, { producer: 1 + index }).then(() => !isBad, () => isBad);
    });
  }
}

function rulesOf(
  random: SeededRandom,
  sources: readonly { readonly name: string; readonly size: number }[],
  hasLateRules: boolean,
): Bound[] {
  const rules: Bound[] = [], kinds = Object.keys(TEMPLATES);
  // The device has whole words; of the last bytes of other pages a shader knows nothing.
  const known = sources.filter(({ size }) => size % 4 === 0)
    .map(({ name, size }) => ({ name, bytes: size }));
  for (let index = 0; index < RULES; index++) {
    const kind = kinds[index % kinds.length];
    const bytes = OUTPUT_BYTES[random.below(OUTPUT_BYTES.length)], threads = bytes / 4;
    const first = random.below(known.length);
    const inputs = [
      known[first],
      known[(first + 1 + random.below(known.length - 1)) % known.length],
    ];
    const { hasState, ...twins } = TEMPLATES[kind](threads, inputs.map(({ bytes }) => bytes / 4));
    const plus = random.below(1000);
    const params: Record<string, number> = twins.wgsl.params === undefined ? {} : { plus };
    const output = { name: `o${index}`, bytes };
    rules.push({
      name: `${kind} ${index}`,
      rule: defineRule(twins),
      inputs: inputs.map(({ name }) => name),
      output,
      state: hasState ? `t${index}` : undefined,
      params,
      every: hasLateRules && random.chance(0.3) ? 2 + random.below(3) : 1,
    });
    known.push(output);
  }
  return rules;
}

interface Target {
  readonly id: number;
  readonly size: number;
}

function randomBatch(random: SeededRandom, pages: readonly Target[], isBad: boolean): DeltaBatch {
  const batch = new DeltaBatch({ rows: 16, payloadBytes: 256, growable: true });
  const rows = 1 + random.below(random.chance(0.2) ? 1000 : 60);
  for (let row = 0; row < rows; row++) addRow(random, batch, pages[random.below(pages.length)]);
  if (isBad) batch.push(BAD_PAGE, 0, Uint8Array.of(1));
  return batch;
}

/** Thousands of rows for 16 bytes: the last one of each byte counts, and each sum is made of many. */
function collidingBatch(random: SeededRandom, pages: readonly Target[]): DeltaBatch {
  const batch = new DeltaBatch({ rows: COLLIDING_ROWS, payloadBytes: 8 * COLLIDING_ROWS });
  const { id } = pages[random.below(pages.length)], isSum = random.chance(0.5);
  for (let row = 0; row < COLLIDING_ROWS; row++) {
    const offset = 4 * random.below(4), value = random.next();
    if (isSum) batch.combine(id, "u32", "add", offset, value);
    else batch.push(id, offset, new Uint8Array(Uint32Array.of(value).buffer));
  }
  return batch;
}

function addRow(random: SeededRandom, batch: DeltaBatch, { id, size }: Target): void {
  const kind = random.below(10), offset = random.below(size);
  const length = 1 + random.below(Math.min(random.chance(0.05) ? 4096 : 40, size - offset));
  if (kind < 5) {
    const start = kind < 3 ? offset & ~3 : offset;
    batch.push(id, start, bytesOf(random, Math.min(length, size - start)));
  } else if (kind < 7) {
    const mask = bytesOf(random, Math.ceil(length / 8));
    if (length % 8 !== 0) mask[mask.length - 1] &= 0xff >>> 8 - length % 8;
    batch.pushMasked(id, offset, length, mask, bytesOf(random, setBits(mask)));
  } else {
    const type = random.chance(0.03) && size >= 8 ? "f64" : TYPES[random.below(TYPES.length)];
    const width = type === "f64" ? 8 : 4, isFloat = type[0] === "f";
    const operation = OPERATIONS[random.below(isFloat ? 3 : 6)];
    const element = width * random.below(Math.floor(size / width));
    const value = isFloat
      ? ODD_FLOATS[random.below(ODD_FLOATS.length)]
      : type === "i32"
      ? random.next() | 0
      : random.next();
    batch.combine(id, type, operation, element, value);
  }
}

function bytesOf(random: SeededRandom, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, () => random.next());
}

function setBits(mask: Uint8Array): number {
  let count = 0;
  for (const byte of mask) for (let rest = byte; rest !== 0; rest &= rest - 1) count++;
  return count;
}
