/**
 * Rules: what a program says about derived pages, and what a rule sees when it runs.
 *
 * A rule is a pure function: it reads its inputs, outputs, state and parameters and writes its outputs
 * and state, nothing else. What it is given is good while it runs and no longer. It may say twice how its
 * outputs come about: in full (`compute`), and from what has changed (`fromDeltas`); both must
 * lead to the same bytes.
 *
 * @module
 */

import { checkInteger, checkKeys, checkType, MmsbError } from "../base/mod.ts";
import type {
  ColumnOf,
  Fields,
  NumericKey,
  RowOf,
  StructSchema,
  TableSchema,
  ValueOf,
} from "../schema/mod.ts";
import { type CheckedShader, checkShader, type RuleShader } from "./gpu/rule_shader.ts";

/** The fields of a page that a rule reads, by name; good while the rule runs. */
export interface RuleStruct<F extends Fields = Fields> {
  /** One field. */
  get<K extends keyof F & string>(name: K): RowOf<F>[K];
  /** All fields in a new object. */
  get(): RowOf<F>;
}

/** The fields of a page that a rule writes. */
export interface RuleStructOutput<F extends Fields = Fields> extends RuleStruct<F> {
  /** Sets one field; values are checked as `Struct.set` checks them. */
  set<K extends keyof F & string>(name: K, value: RowOf<F>[K]): void;
  /** Sets some fields. */
  set(values: Partial<RowOf<F>>): void;
}

/** A page as a rule reads it; numbers are little endian and may stand at any byte. */
export interface RulePage {
  /** Id of the page. */
  readonly id: number;
  /** Bytes of the page. */
  readonly byteLength: number;
  /** A signed byte. */
  getInt8(offset: number): number;
  /** A byte. */
  getUint8(offset: number): number;
  /** 16 bits, signed. */
  getInt16(offset: number): number;
  /** 16 bits. */
  getUint16(offset: number): number;
  /** 32 bits, signed. */
  getInt32(offset: number): number;
  /** 32 bits. */
  getUint32(offset: number): number;
  /** An IEEE 754 single. */
  getFloat32(offset: number): number;
  /** An IEEE 754 double. */
  getFloat64(offset: number): number;
  /** 64 bits, signed. */
  getBigInt64(offset: number): bigint;
  /** 64 bits. */
  getBigUint64(offset: number): bigint;
  /** Copies bytes from `offset` on into `target`, as many as it holds; gives `target`. */
  readInto<T extends Uint8Array>(target: T, offset?: number): T;
  /**
   * The page's fields as a schema lays them out; nothing is made in each run, and what the page was created as is not
   * looked at.
   *
   * @param schema What `struct()` made: keep it beside the rule, and do not make one in each run.
   * @throws {MmsbError} `usage` for what is no schema of a struct.
   */
  struct<F extends Fields>(schema: StructSchema<F>): RuleStruct<F>;
}

/** A page that a rule reads; the root page of a table gives its rows. */
export interface RuleInput extends RulePage {
  /**
   * The table that this page is the root of.
   *
   * @throws {MmsbError} `usage` where it is none.
   */
  readonly table: RuleTable;
  /**
   * The same, typed by its schema.
   *
   * @param schema What `table()` made: its columns must be those of the table, or some of them.
   * @throws {MmsbError} `usage` where the page is no table, or has no such columns.
   */
  tableOf<F extends Fields>(schema: TableSchema<F>): RuleTable<F>;
}

/** A page that a rule writes. Only words that change make a delta, so writing what stands there is free. */
export interface RuleOutput extends RulePage {
  /** Sets a signed byte. */
  setInt8(offset: number, value: number): void;
  /** Sets a byte. */
  setUint8(offset: number, value: number): void;
  /** Sets 16 bits, signed. */
  setInt16(offset: number, value: number): void;
  /** Sets 16 bits. */
  setUint16(offset: number, value: number): void;
  /** Sets 32 bits, signed. */
  setInt32(offset: number, value: number): void;
  /** Sets 32 bits. */
  setUint32(offset: number, value: number): void;
  /** Sets an IEEE 754 single. */
  setFloat32(offset: number, value: number): void;
  /** Sets an IEEE 754 double. */
  setFloat64(offset: number, value: number): void;
  /** Sets 64 bits, signed. */
  setBigInt64(offset: number, value: bigint): void;
  /** Sets 64 bits. */
  setBigUint64(offset: number, value: bigint): void;
  /** {@inheritDoc RulePage.struct} */
  struct<F extends Fields>(schema: StructSchema<F>): RuleStructOutput<F>;
  /** Sets bytes. */
  set(offset: number, bytes: Uint8Array): void;
  /** Sets bytes to one value. */
  fill(value: number, offset?: number, length?: number): void;
}

/** A table as a rule reads it. */
export interface RuleTable<F extends Fields = Fields> {
  /** Rows. */
  readonly length: number;
  /** One value: a number, or a bigint of a 64-bit column; of bytes and text as `Table.get` gives it. */
  get<K extends keyof F & string>(row: number, column: K): ValueOf<F[K]>;
  /** A column chunk by chunk: typed arrays over the live bytes, only to be read. */
  chunks<K extends NumericKey<F>>(column: K): readonly ColumnOf<F[K]>[];
}

/** The rows of a table that have changed since the rule's last run; good until it returns. */
export interface RuleTableChanges<F extends Fields = Fields> {
  /** Rows that were appended, or of which any column has other bytes, each once. */
  readonly count: number;
  /** Their numbers; at least `count` long. */
  readonly rows: Uint32Array;
  /** Rows that the table had at the rule's last run: those from here on are new. */
  readonly lengthBefore: number;
  /** Rows that it has now. */
  readonly length: number;
  /** For each changed row the value of a column of numbers at the rule's last run; zero for new rows. */
  before<K extends NumericKey<F>>(column: K): ColumnOf<F[K]>;
  /** For each changed row the value of a column of numbers now. */
  after<K extends NumericKey<F>>(column: K): ColumnOf<F[K]>;
}

/** What has changed in a rule's inputs since its last run; good until it returns. */
export interface RuleChanges {
  /** Input of the span that {@linkcode RuleChanges.next} went to. */
  readonly input: number;
  /** First byte of the span, a multiple of 4. */
  readonly offset: number;
  /** Bytes of the span. */
  readonly length: number;
  /** Goes to the next changed span of the inputs that are pages; `false` behind the last. */
  next(): boolean;
  /** Goes in front of the first span. */
  rewind(): void;
  /** Whether an input has changed. */
  has(input: number): boolean;
  /** An input as it was at the rule's last run, all of it. */
  before(input: number): RulePage;
  /**
   * Changed rows of an input that is a table.
   *
   * @param schema Its schema, or one of some of its columns, for types.
   * @throws {MmsbError} `usage` where it is none, or has no such columns.
   */
  table<F extends Fields = Fields>(input: number, schema?: TableSchema<F>): RuleTableChanges<F>;
}

/** What a rule is given. */
export interface RuleContext {
  /** Its parameters, as its binding has them. */
  readonly params: unknown;
  /** The tick that it runs in. */
  readonly tick: number;
  /** An input, by its place in the binding. */
  input(index: number): RuleInput;
  /** An output, by its place in the binding; it may be read before it is written. */
  output(index: number): RuleOutput;
  /** A page of the rule's state, by its place in the binding. */
  state(index: number): RuleOutput;
}

/** A rule. */
export interface Rule {
  /** Version of the code: with another one bound, all outputs are computed anew. */
  readonly version: number;
  /** Computes all outputs from all inputs. */
  compute(ctx: RuleContext): void;
  /**
   * Brings the outputs up to date from what has changed; without it `compute` runs.
   *
   * @returns `"full"` to ask for `compute` after all.
   */
  fromDeltas?(ctx: RuleContext, changes: RuleChanges): void | "full";
  /**
   * The same as a compute shader. Where a bus has a device it runs there in place of `compute`, which stays what it is
   * checked against, and what runs everywhere else. `compute` is one step of it: with `steps` it is called that often, one
   * call after the other.
   */
  readonly wgsl?: RuleShader;
}

const RULE_KEYS = ["version", "compute", "fromDeltas", "wgsl"];
/** Largest version of a rule. */
const VERSION_MAX = 2 ** 32 - 1;
const defined = new WeakSet<object>();
/** The shaders of rules that have one, and one step of their twins. */
const shaders = new WeakMap<object, RuleTwins>();

/** The two forms of a rule with a shader. */
export interface RuleTwins {
  /** The shader. */
  readonly shader: CheckedShader;
  /** One step of its twin. */
  readonly step: (ctx: RuleContext) => void;
}

/**
 * Makes a rule.
 *
 * @param definition Version (default 1), `compute`, and `fromDeltas` if the rule can do with changes, or `wgsl` if it can be
 * run by a device.
 * @returns The rule, for `bus.rule`.
 * @throws {MmsbError} `usage` where something is missing or of a wrong type, a shader has no such entry, or both
 * `fromDeltas` and `wgsl` are given; `out-of-bounds`, `limit` for numbers of a shader.
 *
 * @example The middle of a quote
 * ```ts
 * import assert from "node:assert/strict";
 * import { defineRule, StateBus, struct } from "@mmsb/mmsb";
 *
 * await using bus = await StateBus.open();
 * const quote = bus.create(struct({ bid: "f64", ask: "f64" }), { name: "AAPL" });
 * const mid = bus.createPage({ size: 8, name: "mid" });
 * const middle = defineRule({
 *   version: 1,
 *   compute(ctx) {
 *     const quote = ctx.input(0);
 *     ctx.output(0).setFloat64(0, (quote.getFloat64(0) + quote.getFloat64(8)) / 2);
 *   },
 * });
 * bus.rule(middle, { name: "mid", inputs: [quote], outputs: [mid] });
 * await bus.commit(() => quote.set({ bid: 187, ask: 188 }));
 * assert.equal(new DataView(mid.read().buffer).getFloat64(0, true), 187.5);
 * ```
 *
 * @example A thousand cells that run on the device where there is one
 * ```ts
 * import assert from "node:assert/strict";
 * import { defineRule, StateBus } from "@mmsb/mmsb";
 *
 * const scale = defineRule({
 *   version: 1,
 *   wgsl: {
 *     code: `@compute @workgroup_size(64)
 *       fn main(@builtin(global_invocation_id) id: vec3u) {
 *         if (id.x >= threads.x) { return; }
 *         output0[id.x] = input0[id.x] * params.factor;
 *       }`,
 *     threads: 1000,
 *     params: { factor: "u32" },
 *   },
 *   compute(ctx) {
 *     const { factor } = ctx.params as { factor: number };
 *     for (let at = 0; at < 4000; at += 4) {
 *       ctx.output(0).setUint32(at, Math.imul(ctx.input(0).getUint32(at), factor));
 *     }
 *   },
 * });
 *
 * await using bus = await StateBus.open({ device: "auto" });
 * const cells = bus.createPage({ size: 4000 }), scaled = bus.createPage({ size: 4000 });
 * const rule = bus.rule(scale, {
 *   name: "scale",
 *   inputs: [cells],
 *   outputs: [scaled],
 *   params: { factor: 3 },
 * });
 * await bus.commit(() => cells.write(0, Uint8Array.of(7)));
 * assert.equal(scaled.read(0, 1)[0], 21);
 * console.log(rule.device); // { on: "cpu", reason: … }
 * ```
 */
export function defineRule(
  definition: Omit<Rule, "version"> & { readonly version?: number },
): Rule {
  checkType("definition of a rule", definition, "object");
  checkKeys("defineRule", definition, RULE_KEYS);
  const { version = 1, compute, fromDeltas, wgsl } = definition;
  checkInteger("version of a rule", version, 0, VERSION_MAX);
  checkType("compute of a rule", compute, "function");
  if (fromDeltas !== undefined) checkType("fromDeltas of a rule", fromDeltas, "function");
  if (wgsl !== undefined) return shaderRule(version, { ...definition, wgsl });
  const rule: Rule = Object.freeze(
    fromDeltas === undefined ? { version, compute } : { version, compute, fromDeltas },
  );
  defined.add(rule);
  return rule;
}

function shaderRule(
  version: number,
  definition: Omit<Rule, "version"> & { readonly wgsl: RuleShader },
): Rule {
  if (definition.fromDeltas !== undefined) {
    throw new MmsbError(
      "usage",
      "Cannot define a rule with wgsl and fromDeltas: a shader computes in full, so leave fromDeltas out",
    );
  }
  const shader = checkShader(definition.wgsl), { steps } = shader;
  const step = (ctx: RuleContext): void => definition.compute(ctx);
  const compute = steps === 1 ? step : (ctx: RuleContext): void => {
    let result: void = undefined;
    // Who returns anything is told that it means nothing.
    for (let i = 0; i < steps && result === undefined; i++) result = step(ctx);
    return result;
  };
  const rule: Rule = Object.freeze({
    version,
    compute,
    wgsl: Object.freeze({ ...definition.wgsl }),
  });
  defined.add(rule);
  shaders.set(rule, { shader, step });
  return rule;
}

/** The shader of a rule and one step of its twin; `undefined` where it has none. */
export function twinsOf(rule: Rule): RuleTwins | undefined {
  return shaders.get(rule);
}

/** Whether {@linkcode defineRule} made it. */
export function isRule(value: unknown): value is Rule {
  return typeof value === "object" && value !== null && defined.has(value);
}

/**
 * Makes a rule whose output holds a span of its input: it gets the delta itself, and nothing is
 * computed.
 *
 * @param span First byte in the input (`from`), first byte in the output (`to`), and bytes.
 * @throws {MmsbError} `usage` for wrong options, `out-of-bounds` for numbers out of range.
 *
 * @example The bid of a quote in a page of its own
 * ```ts
 * import assert from "node:assert/strict";
 * import { mirror, StateBus } from "@mmsb/mmsb";
 *
 * await using bus = await StateBus.open();
 * const quote = bus.createPage({ size: 16 }), bid = bus.createPage({ size: 8 });
 * bus.rule(mirror({ from: 8, length: 8 }), { name: "bid", inputs: [quote], outputs: [bid] });
 * await bus.commit(() => quote.write(8, Uint8Array.of(1, 2)));
 * assert.deepEqual([...bid.read(0, 3)], [1, 2, 0]);
 * ```
 */
export function mirror(
  span: { readonly from?: number; readonly to?: number; readonly length: number },
): Rule {
  checkType("span of a mirror", span, "object");
  checkKeys("mirror", span, ["from", "to", "length"]);
  const { from = 0, to = 0, length } = span;
  checkInteger("from", from, 0, 2 ** 24);
  checkInteger("to", to, 0, 2 ** 24);
  checkInteger("length", length, 1, 2 ** 24);
  return defineRule({
    version: 1,
    compute(ctx) {
      copySpan(ctx, from, to, length);
    },
    fromDeltas(ctx, changes) {
      while (changes.next()) {
        const first = Math.max(from, changes.offset);
        const end = Math.min(from + length, changes.offset + changes.length);
        if (changes.input === 0 && first < end) {
          copySpan(ctx, first, to + first - from, end - first);
        }
      }
    },
  });
}

const COPY_BYTES = 4096;
const copied = new Uint8Array(COPY_BYTES);

function copySpan(ctx: RuleContext, from: number, to: number, length: number): void {
  const source = ctx.input(0), target = ctx.output(0);
  for (let done = 0; done < length; done += COPY_BYTES) {
    const count = Math.min(COPY_BYTES, length - done);
    const part = count === COPY_BYTES ? copied : copied.subarray(0, count);
    target.set(to + done, source.readInto(part, from + done));
  }
}

/** Refuses what is used in a rule and is not there. */
export function refuseIndex(what: string, index: unknown, count: number): never {
  throw new MmsbError(
    "usage",
    `Cannot use ${what} ${String(index)} of the rule: it has ${count} of them`,
    { values: { what, index, count } },
  );
}
