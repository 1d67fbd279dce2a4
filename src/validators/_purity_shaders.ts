/**
 * Rules in WGSL that validator 4 compares with their twins: the same changes on a bus that runs them on the GPU and on
 * one that runs the twins must leave the same bytes after each round, and a shader that computes something else than
 * its twin must be found.
 *
 * All of it is exact: integers, and floats that are sums and halves of small integers, so that no tolerance is needed.
 * Two shaders are wrong from the first run on or from some run on: the first is refused by the bus, which compares
 * the first run with the twin; the second passes there and must show in the bytes.
 */

import { defineRule, type Rule, type RuleContext } from "../propagation/mod.ts";
import { INPUT_BYTES, INPUTS } from "./_purity_rules.ts";
import type { PuritySubject } from "./_purity_work.ts";

const WORDS: number = INPUT_BYTES / 4;

/** The body of a shader, run for each word `at` of the output. */
function code(body: string): string {
  return `@compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) {
  let at = id.x;
  if (at >= threads.x) { return; }
  ${body}
}`;
}

/** Each word of the output from the words of the inputs at its place. */
function wordwise(ctx: RuleContext, value: (words: readonly number[]) => number): void {
  for (let at = 0; at < INPUT_BYTES; at += 4) {
    const words = Array.from({ length: INPUTS }, (_, input) => ctx.input(input).getUint32(at));
    ctx.output(0).setUint32(at, value(words) >>> 0);
  }
}

const SUM = "input0[at] + input1[at] + input2[at]";
const sum = ([a, b, c]: readonly number[]) => a + b + c;

const sums: Rule = defineRule({
  wgsl: { code: code(`output0[at] = ${SUM};`), threads: WORDS },
  compute: (ctx) => wordwise(ctx, sum),
});

const largest: Rule = defineRule({
  wgsl: {
    code: code("output0[at] = max(input0[at], max(input1[at], input2[at]));"),
    threads: WORDS,
    inputs: ["i32", "i32", "i32"],
    outputs: ["i32"],
  },
  compute: (ctx) => wordwise(ctx, (words) => Math.max(...words.map((word) => word | 0))),
});

const spread: Rule = defineRule({
  wgsl: {
    code: code(`let beside = previous0[(at + 1u) % ${WORDS}u];
  output0[at] = (beside * 3u) ^ (input0[at] + input1[at] + input2[at]);`),
    threads: WORDS,
    steps: 5,
  },
  compute(ctx) {
    const output = ctx.output(0);
    const old = Array.from({ length: WORDS }, (_, at) => output.getUint32(4 * at));
    wordwise(ctx, sum);
    old.forEach((_, at) => {
      const beside = Math.imul(old[(at + 1) % WORDS], 3);
      output.setUint32(4 * at, (beside ^ output.getUint32(4 * at)) >>> 0);
    });
  },
});

const bits: Rule = defineRule({
  wgsl: {
    code: code(`state0[at] = countOneBits(input0[at]) + countOneBits(input1[at]);
  output0[at] = state0[at] * 1000u + countOneBits(input2[at]);`),
    threads: WORDS,
  },
  compute(ctx) {
    wordwise(ctx, ([a, b, c]) => 1000 * (countBits(a) + countBits(b)) + countBits(c));
    for (let at = 0; at < INPUT_BYTES; at += 4) {
      const [a, b] = [0, 1].map((input) => countBits(ctx.input(input).getUint32(at)));
      ctx.state(0).setUint32(at, a + b);
    }
  },
});

const halves: Rule = defineRule({
  wgsl: {
    code: code("output0[at] = f32(input0[at] & 0xffffu) * 0.5 + params.plus;"),
    threads: WORDS,
    outputs: ["f32"],
    params: { plus: "f32" },
  },
  compute(ctx) {
    const { plus } = ctx.params as { plus: number };
    for (let at = 0; at < INPUT_BYTES; at += 4) {
      ctx.output(0).setFloat32(at, (ctx.input(0).getUint32(at) & 0xffff) * 0.5 + plus);
    }
  },
});

/** Adds one too much where a word of the input is large: not in the first run, whose pages are empty. */
const wrongLater: Rule = defineRule({
  wgsl: {
    code: code(`output0[at] = ${SUM} + select(0u, 1u, input0[at] > 0x40000000u);`),
    threads: WORDS,
  },
  compute: (ctx) => wordwise(ctx, sum),
});

const wrongAtOnce: Rule = defineRule({
  wgsl: { code: code(`output0[at] = ${SUM} + at;`), threads: WORDS },
  compute: (ctx) => wordwise(ctx, sum),
});

function countBits(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}

function subject(name: string, rule: Rule, more: Partial<PuritySubject> = {}): PuritySubject {
  return { name, reads: "pages", rule: () => rule, ...more };
}

/** Rules whose shader is as their twin. */
export const SHADERS: readonly PuritySubject[] = [
  subject("sums in WGSL", sums),
  subject("largest in WGSL", largest),
  subject("spread over steps in WGSL", spread),
  subject("bits in WGSL with state", bits, { hasState: true }),
  subject("halves in WGSL", halves, { params: { plus: 0.25 } }),
];

/** Rules whose shader is not, and what must be said of them. */
export const WRONG_SHADERS: readonly (PuritySubject & { readonly finds: RegExp })[] = [
  { ...subject("wrong at once in WGSL", wrongAtOnce), finds: /Cannot use its shader/ },
  {
    ...subject("wrong later in WGSL", wrongLater),
    finds: /on the GPU: \d+ of \d+ results differ/,
  },
];
