/**
 * Rule shaders: what a rule says that is written in WGSL, and what of it can be checked without a device.
 *
 * A shader is the second form of a rule whose first, its CPU twin, is always there: the twin runs where no device
 * does, and says what the shader's bytes have to be. So everything that a machine without a GPU can find wrong is found
 * where the rule is made, with the same error everywhere: a missing entry, a workgroup that is not said in plain numbers,
 * bindings of the user's own. What only a compiler finds comes when the rule is bound on a bus with a device.
 *
 * Cost: a few passes over the text, once a rule.
 *
 * @module
 */

import { checkInteger, checkIterable, checkKeys, checkType, MmsbError } from "../../base/mod.ts";

/** What one word of a page is to a shader. */
export type ShaderElement = "u32" | "i32" | "f32";

/** How far the shader's floats may be from the twin's. */
export interface ShaderTolerance {
  /** Floats between the two values, at most. Default {@linkcode SHADER_ULP_DEFAULT}. */
  readonly ulp?: number;
  /** Or: the largest difference between them. Default 2⁻¹²⁶, since devices may write 0 for smaller numbers. */
  readonly absolute?: number;
}

/**
 * A rule as a compute shader.
 *
 * What the code may name, beside what it declares itself: `input0`, `output0`, `state0` and so on, arrays of words in the order
 * of the binding (`arrayLength` gives their sizes); `previous0`, the output as it was before the step; `params`, `tick`
 * and `threads`. They stand behind the code, so the lines and columns of a compiler's message are those of the code.
 *
 * The language is [WGSL](https://www.w3.org/TR/WGSL/), compiled by the runtime; what its section "Floating Point Evaluation"
 * leaves open, `tolerance` allows for. Limits are those of the adapter
 * ([WebGPU, "Limits"](https://www.w3.org/TR/webgpu/#limits)).
 *
 * @example Neighbours, from what stood there before the step
 * ```ts
 * import assert from "node:assert/strict";
 * import { defineRule, type RuleShader, StateBus } from "@mmsb/mmsb";
 *
 * const wgsl: RuleShader = {
 *   code: `@compute @workgroup_size(64)
 *     fn main(@builtin(global_invocation_id) id: vec3u) {
 *       if (id.x >= threads.x) { return; }
 *       let left = previous0[(id.x + threads.x - 1) % threads.x];
 *       output0[id.x] = left + input0[id.x] * params.gain;
 *     }`,
 *   threads: 256, // one a word
 *   params: { gain: "u32" },
 * };
 * const shift = defineRule({
 *   wgsl,
 *   compute(ctx) {
 *     const { gain } = ctx.params as { gain: number };
 *     const before = new Uint32Array(256), added = new Uint32Array(256);
 *     ctx.output(0).readInto(new Uint8Array(before.buffer));
 *     ctx.input(0).readInto(new Uint8Array(added.buffer));
 *     const after = added.map((own, at) => before.at(at - 1)! + Math.imul(own, gain));
 *     ctx.output(0).set(0, new Uint8Array(after.buffer));
 *   },
 * });
 *
 * await using bus = await StateBus.open({ device: "gpu" });
 * const added = bus.createPage({ size: 1024 }), ring = bus.createPage({ size: 1024 });
 * bus.rule(shift, { name: "shift", inputs: [added], outputs: [ring], params: { gain: 3 } });
 * await bus.commit(() => added.write(0, Uint8Array.of(5)));
 * await bus.commit(() => added.write(0, Uint8Array.of(0)));
 * assert.deepEqual([...new Uint32Array(ring.read(0, 12).buffer)], [0, 15, 0]);
 * ```
 */
export interface RuleShader {
  /** WGSL with an entry `@compute @workgroup_size(…)`. */
  readonly code: string;
  /**
   * Invocations of one step in x, y and z. Whole workgroups run, so there may be more of them: those return
   * (`if (id.x >= threads.x) { return; }`).
   */
  readonly threads: number | readonly number[];
  /** Name of the entry. Default `main`. */
  readonly entry?: string;
  /** What the words of each input are. Default `u32` for each. */
  readonly inputs?: readonly ShaderElement[];
  /** What the words of each output are. Default `u32` for each. */
  readonly outputs?: readonly ShaderElement[];
  /** What the words of each page of state are. Default `u32` for each. */
  readonly state?: readonly ShaderElement[];
  /** Parameters of the binding that the code reads (`params.rate`), with their types. Default none. */
  readonly params?: Readonly<Record<string, ShaderElement>>;
  /** How often it is run for each run of the rule, one after the other, each from what the last one left. Default 1. */
  readonly steps?: number;
  /** How far floats may be from the twin's after one step; integers may not differ. A number is `ulp`. */
  readonly tolerance?: number | ShaderTolerance;
  /** Every so many runs the twin computes the first step, too. Default 0: in the first run of an opening only. */
  readonly checkEvery?: number;
}

/** Where a rule runs, and why. */
export interface RuleDevice {
  /** `gpu`: its shader does. `cpu`: `compute` does. */
  readonly on: "gpu" | "cpu";
  /** Why, in words. */
  readonly reason: string;
}

/** Three numbers: in x, y and z. */
export type Extent = readonly [number, number, number];

/** A shader that was checked, with nothing left out. */
export interface CheckedShader {
  /** The code as it was given. */
  readonly code: string;
  /** Name of the entry. */
  readonly entry: string;
  /** Invocations that were asked for. */
  readonly threads: Extent;
  /** Invocations of a workgroup. */
  readonly workgroup: Extent;
  /** Workgroups. */
  readonly groups: Extent;
  /** What the words of each input are, of those that were said. */
  readonly inputs: readonly ShaderElement[];
  /** What the words of each output are, of those that were said. */
  readonly outputs: readonly ShaderElement[];
  /** What the words of each page of state are, of those that were said. */
  readonly state: readonly ShaderElement[];
  /** Parameters in their order. */
  readonly params: readonly (readonly [name: string, element: ShaderElement])[];
  /** Steps of a run. */
  readonly steps: number;
  /** Most floats between the shader's and the twin's. */
  readonly ulp: number;
  /** Or the largest difference. */
  readonly absolute: number;
  /** Runs from one check to the next; 0 for the first alone. */
  readonly checkEvery: number;
  /** What of ours the code names: `input0`, `params` and so on. */
  readonly names: ReadonlySet<string>;
}

/** Floats that may lie between the shader's and the twin's after one step, where nothing is said. */
export const SHADER_ULP_DEFAULT = 16;
/** Smallest normal float: 2⁻¹²⁶. */
const SMALLEST_NORMAL = 2 ** -126;
/** Longest code in characters: a shader that somebody wrote has some thousands. */
const CODE_LENGTH_MAX = 2 ** 20;
/** Most invocations of a step in one direction: an index of them is 32 bits. */
const THREADS_MAX = 2 ** 31;
/** Most steps of a run: the twin has to be able to do them, too. */
const STEPS_MAX = 2 ** 20;
const PARAMS_MAX = 256;
const PAGES_MAX = 1024;
const CHECK_EVERY_MAX = 2 ** 31;
const KEYS = [
  "code",
  "threads",
  "entry",
  "inputs",
  "outputs",
  "state",
  "params",
  "steps",
  "tolerance",
  "checkEvery",
];
const ELEMENTS: readonly string[] = ["u32", "i32", "f32"] satisfies ShaderElement[];
const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** Names of ours as they stand in code. */
const OURS = /\b(?:(?:input|output|state|previous)(?:0|[1-9][0-9]{0,4})|params|tick|threads)\b/g;

/**
 * Checks what a rule says as a shader.
 *
 * @throws {MmsbError} `usage` where something is missing, of a wrong type, or unknown to WGSL; `out-of-bounds` for numbers
 * out of range; `limit` for too much of something.
 */
export function checkShader(shader: RuleShader): CheckedShader {
  checkType("wgsl of a rule", shader, "object");
  checkKeys("wgsl", shader, KEYS);
  const { entry = "main", params = {}, steps = 1, checkEvery = 0 } = shader;
  const code = checkType("code of wgsl", shader.code, "string");
  if (code.length > CODE_LENGTH_MAX) {
    throw new MmsbError("limit", `Cannot use a shader of ${code.length} characters: shorten it`, {
      values: { characters: code.length, charactersMax: CODE_LENGTH_MAX },
    });
  }
  checkType("entry of wgsl", entry, "string");
  checkInteger("steps of wgsl", steps, 1, STEPS_MAX, "limit");
  checkInteger("checkEvery of wgsl", checkEvery, 0, CHECK_EVERY_MAX);
  const text = withoutComments(code);
  refuseBindings(text);
  const threads = checkThreads(shader.threads), workgroup = workgroupOf(text, entry);
  const [x, y, z] = threads.map((count, i) => Math.ceil(count / workgroup[i]));
  return Object.freeze({
    code,
    entry,
    threads,
    workgroup,
    groups: [x, y, z] as const,
    inputs: checkElements("inputs", shader.inputs),
    outputs: checkElements("outputs", shader.outputs),
    state: checkElements("state", shader.state),
    params: checkParams(params),
    steps,
    ...checkTolerance(shader.tolerance),
    checkEvery,
    names: new Set(text.match(OURS)),
  });
}

/** Blanks comments, which may stand in each other, so that what is looked for is code; lines stay. */
function withoutComments(code: string): string {
  let text = "", kept = 0;
  for (const { index } of code.matchAll(/\/[/*]/g)) {
    if (index < kept) continue;
    const end = endOfComment(code, index);
    text += code.slice(kept, index) + code.slice(index, end).replace(/[^\n\r]/g, " ");
    kept = end;
  }
  return text + code.slice(kept);
}

function endOfComment(code: string, start: number): number {
  if (code[start + 1] === "/") {
    const lineEnd = /[\n\v\f\r\u0085\u2028\u2029]/g;
    lineEnd.lastIndex = start;
    return lineEnd.exec(code)?.index ?? code.length;
  }
  const signs = /\/\*|\*\//g;
  signs.lastIndex = start;
  let depth = 0;
  for (let sign = signs.exec(code); sign !== null; sign = signs.exec(code)) {
    depth += sign[0] === "/*" ? 1 : -1;
    if (depth === 0) return signs.lastIndex;
  }
  return code.length;
}

/** The pages are bound by us; what else could be bound would be state that nobody knows of. */
function refuseBindings(text: string): void {
  const found = /@\s*(?:group|binding)\b|\boverride\b/.exec(text);
  if (found === null) return;
  const line = text.slice(0, found.index).split("\n").length;
  throw new MmsbError(
    "usage",
    `Cannot use "${
      found[0]
    }" in line ${line} of a shader: name input0, output0, state0, previous0, params or tick, which are there`,
    { values: { found: found[0], line } },
  );
}

function checkThreads(threads: unknown): Extent {
  const given: unknown = typeof threads === "number" ? [threads] : threads;
  if (!Array.isArray(given) || given.length < 1 || given.length > 3) {
    throw new MmsbError(
      "usage",
      "Cannot use threads of wgsl as they are: give a number, or one to three of them",
      { values: { threads: String(threads) } },
    );
  }
  const [x, y = 1, z = 1] = given.map((count, i) =>
    checkInteger(`threads of wgsl in ${"xyz"[i]}`, count, 1, THREADS_MAX)
  );
  return [x, y, z];
}

function checkElements(name: string, elements: unknown = []): readonly ShaderElement[] {
  if (!Array.isArray(elements)) {
    throw new MmsbError("usage", `Cannot use ${name} of wgsl as they are: give an array of types`, {
      values: { [name]: String(elements) },
    });
  }
  const checked = [...checkIterable(name, elements)];
  if (checked.length > PAGES_MAX) {
    throw new MmsbError("limit", `Cannot use ${checked.length} ${name} in a shader: split it`, {
      values: { [name]: checked.length },
    });
  }
  return Object.freeze(checked.map((element, i) => checkElement(`${name}[${i}] of wgsl`, element)));
}

function checkElement(name: string, element: unknown): ShaderElement {
  if (typeof element === "string" && ELEMENTS.includes(element)) return element as ShaderElement;
  const isWide = element === "f64" || element === "i64" || element === "u64";
  throw new MmsbError(
    "usage",
    isWide
      ? `Cannot have ${name} be ${element}, which WGSL does not know: compute with f32 or two u32, or leave wgsl out`
      : `Cannot have ${name} be ${String(element)}: give "u32", "i32" or "f32"`,
    { values: { name, element: String(element) } },
  );
}

function checkParams(params: unknown): CheckedShader["params"] {
  const entries = Object.entries(checkType("params of wgsl", params, "object"));
  if (Array.isArray(params) || entries.length > PARAMS_MAX) {
    throw new MmsbError(
      "usage",
      `Cannot use params of wgsl as they are: give at most ${PARAMS_MAX} names with types`,
      { values: { params: entries.length } },
    );
  }
  return Object.freeze(entries.map(([name, element]) => {
    if (!IDENTIFIER.test(name) || name === "_" || name.startsWith("__")) {
      throw new MmsbError("usage", `Cannot name a parameter of a shader "${name}": give a word`, {
        values: { name },
      });
    }
    return [name, checkElement(`parameter ${name} of wgsl`, element)] as const;
  }));
}

function checkTolerance(tolerance: unknown = {}): Pick<CheckedShader, "ulp" | "absolute"> {
  const given: unknown = typeof tolerance === "number" ? { ulp: tolerance } : tolerance;
  const { ulp = SHADER_ULP_DEFAULT, absolute = SMALLEST_NORMAL } = checkType(
    "tolerance of wgsl",
    given as ShaderTolerance,
    "object",
  ) as ShaderTolerance;
  checkKeys("tolerance of wgsl", given, ["ulp", "absolute"]);
  checkInteger("ulp", ulp, 0, 2 ** 31);
  if (typeof absolute !== "number" || !(absolute >= 0)) {
    throw new MmsbError("usage", "Cannot use absolute of wgsl: give a number from 0 on", {
      values: { absolute: String(absolute) },
    });
  }
  return { ulp, absolute };
}

/** The size of the entry's workgroup: how many are to be run follows from it. */
function workgroupOf(text: string, entry: string): Extent {
  if (!IDENTIFIER.test(entry)) refuseEntry(entry);
  const found = new RegExp(`\\bfn\\s+${entry}\\b`).exec(text);
  const attributes = found === null ? undefined : attributesBefore(text, found.index);
  if (attributes === undefined || !/@\s*compute\b/.test(attributes)) refuseEntry(entry);
  const sizes = /@\s*workgroup_size\s*\(([^()]*)\)/.exec(attributes!)?.[1].split(",")
    .map((size) => size.trim()).filter((size) => size !== "").map((size) => plain(text, size));
  if (
    sizes === undefined || sizes.length < 1 || sizes.length > 3 ||
    sizes.some((size) => !Number.isInteger(size) || size < 1)
  ) {
    throw new MmsbError(
      "usage",
      `Cannot find the workgroup of "${entry}": write one to three plain numbers, as in @workgroup_size(64)`,
      { values: { entry } },
    );
  }
  const [x, y = 1, z = 1] = sizes;
  return [x, y, z];
}

/** The attributes that end at a place; a text may be all attributes, so none is looked at twice. */
function attributesBefore(text: string, end: number): string {
  let start = end;
  for (;;) {
    let at = skipBack(text, start, /\s/);
    if (text[at - 1] === ")") {
      let open = 0;
      do {
        at--;
        open += text[at] === ")" ? 1 : text[at] === "(" ? -1 : 0;
      } while (open > 0 && at > 0);
      at = skipBack(text, at, /\s/);
    }
    at = skipBack(text, skipBack(text, at, /\w/), /\s/);
    if (text[at - 1] !== "@") return text.slice(start, end);
    start = at - 1;
  }
}

function skipBack(text: string, end: number, kind: RegExp): number {
  let at = end;
  while (at > 0 && kind.test(text[at - 1])) at--;
  return at;
}

function refuseEntry(entry: string): never {
  throw new MmsbError(
    "usage",
    `Cannot find entry "${entry}" of a shader: write @compute @workgroup_size(64) fn ${entry}(…), or name another entry`,
    { values: { entry } },
  );
}

/** A literal, or a constant that is one; NaN for what a compiler alone could know. */
function plain(text: string, size: string): number {
  const literal = /^([1-9][0-9]*)[iu]?$/.exec(size);
  if (literal !== null) return Number(literal[1]);
  if (!IDENTIFIER.test(size)) return NaN;
  const values = new Set(
    [...text.matchAll(new RegExp(`\\bconst\\s+${size}\\b[^=;]*=([^;]*);`, "g"))].map(([, value]) =>
      Number(/^\s*([1-9][0-9]*)[iu]?\s*$/.exec(value)?.[1])
    ),
  );
  // A name may stand for another number inside of a function.
  return values.size === 1 ? [...values][0] : NaN;
}
