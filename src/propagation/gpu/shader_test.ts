import assert from "node:assert/strict";
import fc from "fast-check";
import { checkShader, type RuleShader } from "./rule_shader.ts";
import { firstDifference, firstInfinite } from "./shader_difference.ts";
import { layShader, paramWords } from "./shader_layout.ts";

const COUNTS = { inputs: 2, outputs: 1, state: 1 };

function shaderOf(code: string, more: Partial<RuleShader> = {}) {
  return checkShader({ code, threads: [100, 20], ...more });
}

/** Words of floats. */
function bitsOf(...floats: number[]): Int32Array {
  return new Int32Array(Float32Array.from(floats).buffer);
}

Deno.test("layShader() declares what the code names, in order, behind the code", () => {
  const code = `/* output0 */ const SIDE = 8u; // input1
@compute @workgroup_size(SIDE, 4)
fn main() { state0[0] = input0[0] + previous0[0] + u32(params.a) + tick + threads.x; }`;
  const shader = shaderOf(code, {
    inputs: ["f32"],
    outputs: ["i32"],
    params: { a: "f32", b: "u32" },
  });
  assert.deepEqual([shader.workgroup, shader.groups], [[8, 4, 1], [13, 5, 1]]);
  const { text, places, tick, params, lines } = layShader("rule", shader, COUNTS);
  assert.deepEqual(text.split("\n").slice(lines), [
    "@group(0) @binding(0) var<storage, read> input0: array<f32>;",
    "@group(0) @binding(1) var<storage, read> previous0: array<i32>;",
    "@group(0) @binding(2) var<storage, read_write> state0: array<u32>;",
    "@group(0) @binding(3) var<uniform> tick: u32;",
    "struct RuleParams { a: f32, b: u32 }",
    "@group(0) @binding(4) var<uniform> params: RuleParams;",
    "const threads = vec3u(100u, 20u, 1u);",
    "",
  ]);
  assert.deepEqual([tick, params, lines], [3, 4, 3]);
  assert.deepEqual(places.map(({ role, index }) => `${role}${index}`), [
    "input0",
    "previous0",
    "state0",
  ]);
});

Deno.test("layShader() refuses names that the binding has not, and parameters without types", () => {
  const laid = (body: string) =>
    layShader("rule", shaderOf(`@compute @workgroup_size(1) fn main() { ${body} }`), COUNTS);
  assert.throws(() => laid("output1[0] = 1;"), /names output1: the binding has 1 output$/);
  assert.throws(() => laid("output0[0] = u32(params.a);"), /names params: give their types/);
  assert.equal(laid("let params = vec2u(1); output0[0] = params.x;").params, -1);
});

Deno.test("checkShader() reads code as WGSL does: comments in each other, attributes in any order", () => {
  const open = "@workgroup_size(16, 2, 2) @compute\n  fn main";
  for (
    const code of [
      `${open}() {}`,
      `/* /* @group(1) */ override */ ${open}(@builtin(num_workgroups) n: vec3u) {}`,
      `// fn main() {}\r\n${open}() {} // the end`,
      `@compute @workgroup_size(1) fn other() {}\n${open}() {}`,
      `enable f16; const A: u32 = 16u; ${open.replace("16", "A")}() {}`,
    ]
  ) assert.deepEqual(shaderOf(code).workgroup, [16, 2, 2], code);
  assert.throws(() => shaderOf(`// ${open}() {}`), { code: "usage" });
  assert.throws(() => shaderOf("@workgroup_size(1) fn main() {}"), { code: "usage" });
  assert.throws(() => shaderOf("@compute @workgroup_size(0) fn main() {}"), { code: "usage" });
});

Deno.test("paramWords() gives the bits of numbers of each type", () => {
  const shader = shaderOf("@compute @workgroup_size(1) fn main() {}", {
    params: { f: "f32", i: "i32", u: "u32" },
  });
  const words = paramWords("rule", shader, { f: 1.5, i: -1, u: 2 ** 32 - 1, more: "text" });
  assert.deepEqual([...words], [0x3fc00000, -1, -1]);
  for (const values of [{ f: 1e39 }, { i: 2 ** 31 }, { u: -1 }, { i: 0.5 }, { f: null }]) {
    const given = { f: 0, i: 0, u: 0, ...values };
    assert.throws(() => paramWords("rule", shader, given), { code: "usage" });
  }
});

Deno.test("firstDifference() counts floats between two floats, on both sides of zero", () => {
  const exact = { ulp: 0, absolute: 0 };
  fc.assert(
    fc.property(fc.float({ noNaN: true }), fc.integer({ min: 1, max: 40 }), (value, steps) => {
      const [word] = bitsOf(value), step = word < 0 ? -steps : steps;
      const other = Int32Array.of(word + step);
      fc.pre(Number.isFinite(new Float32Array(other.buffer)[0]) && (word ^ other[0]) >= 0);
      for (const ulp of [steps - 1, steps]) {
        const found = firstDifference(bitsOf(value), other, "f32", { ulp, absolute: 0 });
        assert.equal(found?.distance, ulp < steps ? steps : undefined);
      }
    }),
  );
  assert.equal(firstDifference(bitsOf(0, 1), bitsOf(-0, 1), "f32", exact), undefined);
  assert.equal(firstDifference(bitsOf(NaN), bitsOf(NaN), "f32", exact), undefined);
  assert.equal(firstDifference(bitsOf(1, NaN), bitsOf(1, 2), "f32", exact)?.distance, Infinity);
  const [small] = [2 ** -149];
  const crossing = firstDifference(bitsOf(small), bitsOf(-small), "f32", exact);
  assert.deepEqual(crossing, { word: 0, shader: small, twin: -small, distance: 2 });
  assert.equal(
    firstDifference(bitsOf(2 ** -127), bitsOf(0), "f32", { ulp: 0, absolute: 2 ** -126 }),
    undefined,
  );
  const integers = [Int32Array.of(1, -1), Int32Array.of(1, -2)] as const;
  const wide = { ulp: 100, absolute: 100 };
  assert.deepEqual(firstDifference(...integers, "u32", wide)?.shader, 2 ** 32 - 1);
  assert.deepEqual(firstDifference(...integers, "i32", wide)?.shader, -1);
});

Deno.test("firstInfinite() finds what is written, and not what stood there", () => {
  const before = bitsOf(Infinity, 1, 2);
  assert.equal(firstInfinite(7, bitsOf(Infinity, 3, -0), before), undefined);
  assert.equal(firstInfinite(7, bitsOf(Infinity, 1, NaN), before)?.values.word, 2);
});
