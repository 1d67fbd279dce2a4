import assert from "node:assert/strict";
import { checkShaderText } from "./_shader_limits.ts";

const MAIN = "@compute @workgroup_size(1) fn main() { }";
const body = (text: string) => `@compute @workgroup_size(1) fn main() { var b = 1u; ${text} }`;
const check = (code: string) => checkShaderText("mine", code, 0, 32_768);

Deno.test("checkShaderText() refuses what ends the process, wherever it hides", () => {
  const many = (text: string) => text.repeat(30_000);
  const deep = `const q = ${many("(")}1${many(")")};`;
  for (const end of ["\n", "\v", "\f", "\r", "\u0085", "\u2028", "\u2029"]) {
    assert.throws(() => check(`${MAIN} // ${end}${deep}`), { code: "limit" }, escape(end));
    assert.throws(() => check(`${MAIN} // ${end}/* */${deep}`), { code: "limit" }, escape(end));
    assert.throws(() => check(`${MAIN} /* /* */ ${end} */${deep}`), { code: "limit" }, escape(end));
  }
  check(`${MAIN} // ${deep} /* `);
  check(`${MAIN} /* ${deep} /* */ ${deep} */`);
  for (const text of [`let a = b${many("[0]")};`, `let a = f(b${many(" [ 0 ] ")});`]) {
    assert.throws(() => check(body(text)), { code: "limit" });
  }
  check(body("b = c[0][1] + c[1][0];".repeat(2000)));
});

Deno.test("checkShaderText() works out how large types are", () => {
  const twice = Array.from({ length: 20 }, (_, i) => `struct S${i + 1} { a: S${i}, b: S${i} }`);
  for (
    const declarations of [
      "var<private> a: array<array<f32, 16384>, 16384>;",
      "var<private> a: array<f32, 10000 * 10000>;",
      "var<private> a: array<f32, (1u << 26u)>;",
      "var<private> a: array<f32, 0x7fff | 1048576>;",
      "var<private> a: array<f32, u32(100000000)>;",
      "var<private> a: array<f32, -(-100000000)>;",
      "const N = 10000; const M: i32 = N * N; var<private> a: array<f32, M>;",
      "const Ñ = 67108864; var<private> a: array<u32, Ñ>;",
      "fn f() { const N = 4; } const N = 67108864; var<private> a: array<u32, N>;",
      "alias A = array<u32, 16384>; var<private> a: array<A, 1024>;",
      "alias B = array<A, 1024>; alias A = array<u32, 16384>; var<private> a: B;",
      "struct A { @size(1073741824) a: u32 } var<private> a: A;",
      "struct A { a: array<vec4<f32>, 20000>, } var<private> a: A;",
      `struct S0 { a: u32 } ${twice.join(" ")} var<private> a: S20;`,
      "fn f() { let a = array<array<f32, 16384>, 16384>(); }",
      "fn f(a: ptr<function, array<array<f32, 16384>, 16384>>) {}",
      "var<private> a: array<u32, select(1, 100000000, true)>;",
      "var<private> a: array<u32, nobody>;",
      "const A = B; const B = A; var<private> a: array<u32, A>;",
      `const A0 = 2; ${
        Array.from({ length: 300 }, (_, i) => `const A${i + 1} = A${i} * A${i};`).join(" ")
      } var<private> a: array<u32, A300>;`,
      Array.from({ length: 9 }, (_, i) => `var<private> a${i}: array<u32, 16384>;`).join(" "),
      "var<workgroup> a: array<u32, 8193>;",
      "var < workgroup > a: array<vec4f, 1024>; var<workgroup> b: array<mat4x4f, 257>;",
      "alias A = array<u32, 8192>; var<workgroup> a: A; var<workgroup> b: u32;",
    ]
  ) {
    assert.throws(() => check(`${declarations} ${MAIN}`), { code: "limit" }, declarations);
  }
  check(`
const TILE = 16; const PADDED: u32 = TILE + 1u;
struct Cell { @align(16) at: vec3<f32>, weights: array<f32, 4>, }
alias Tile = array<array<f32, PADDED>, TILE>;
var<workgroup> tile: Tile;
var<workgroup> others: array<vec4f, (32768 - 16 * 17 * 4 - 16) / 16>;
var<private> cells: array<Cell, TILE * TILE>;
fn f(a: array<array<u32, 2 >> 1>, 4>) -> array<vec2<f32>, 2> { var c = array(1, 2); if 1 < 2 { } }
@group(0) @binding(0) var<storage> all: array<Cell>;
${MAIN}`);
});

Deno.test("checkShaderText() counts what functions become where calls are written out", () => {
  const calls = (count: number, text: (next: string) => string) =>
    Array.from({ length: count }, (_, i) => `fn f${i}(x: u32) -> u32 { ${text(`f${i + 1}`)} }`)
      .join("\n") + ` fn f${count}(x: u32) -> u32 { return x; } ${MAIN}`;
  assert.throws(() => check(calls(30, (next) => `return ${next}(x) + ${next}(x);`)), {
    code: "limit",
  });
  check(calls(200, (next) => `return ${next}(x) + 1u;`));
  // The compiler says so itself.
  check(`fn f() { g(); g(); } fn g() { f(); f(); } ${MAIN}`);
});
