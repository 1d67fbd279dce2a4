/** The compiler beside the same functions in JavaScript, and beside a compiler that begins anew. */

import assert from "node:assert/strict";
import { StateBus } from "@mmsb/mmsb";
import { Compiler, main, SOURCE } from "./compiler_pipeline.ts";

Deno.test("Compiler computes what JavaScript does", async () => {
  await using bus = await StateBus.open();
  const compiler = new Compiler(bus);
  await bus.tick();
  await compiler.edit(SOURCE, "test");
  const fib = (n: number): number => n < 2 ? n : fib(n - 1) + fib(n - 2);
  for (const n of [0, 1, 7, 12]) assert.equal(await compiler.run("fib", n), fib(n));
  assert.equal(await compiler.run("hypot2", 5, 12), 169);
  assert.equal(await compiler.run("main"), 25 + fib(10));
  await compiler.edit("fn f(a,b)=if a<b then 2*(a+b)/4 else a-b-1", "test");
  assert.deepEqual([await compiler.run("f", 1, 3), await compiler.run("f", 9, 3)], [2, 5]);
  await assert.rejects(compiler.run("main"), /There is no function "main"/);
});

Deno.test("Compiler runs what an edit asks for, and ends where one that begins anew ends", async () => {
  await using bus = await StateBus.open();
  const compiler = new Compiler(bus);
  await bus.tick();
  await compiler.edit(SOURCE, "test");
  await compiler.link();
  /** Runs of the rules, and whether it was linked, by an edit and the asking for its result. */
  const costOf = async (text: string) => {
    const { lex, parse, generate } = compiler.runs, { linked } = compiler;
    await compiler.edit(text, "test");
    assert.equal(compiler.runs.generate, generate, "code is made when it is asked for");
    const program = await compiler.link(), now = compiler.runs;
    await using other = await StateBus.open();
    const anew = new Compiler(other);
    await other.tick();
    await anew.edit(text, "test");
    assert.equal(program, await anew.link());
    return [now.lex - lex, now.parse - parse, now.generate - generate, compiler.linked - linked];
  };
  const comment = SOURCE.replace("# Geometry", "# geometry");
  assert.deepEqual(await costOf(comment), [1, 0, 0, 0]);
  const square = comment.replace("x * x", "x * x + 1");
  assert.deepEqual(await costOf(square), [1, 1, 1, 1]);
  assert.deepEqual(await costOf(square.replace("x * x", "(x * x)")), [1, 1, 0, 0]);
  assert.deepEqual(await costOf(square.replace("(n - 1)", "( n-1 )")), [1, 1, 0, 0]);
  assert.deepEqual(await costOf(SOURCE + "fn last() = 1\n"), [1, 2, 2, 1]);
});

Deno.test("Compiler refuses a source that has no place, and keeps the one it had", async () => {
  await using bus = await StateBus.open();
  const compiler = new Compiler(bus);
  await bus.tick();
  await compiler.edit(SOURCE, "test");
  const before = bus.digest();
  const many = Array.from({ length: 17 }, (_, i) => `fn f${i}() = ${i}\n`).join("");
  await assert.rejects(compiler.edit(many, "test"), { code: "rule" });
  await assert.rejects(compiler.edit("#".repeat(9000), "test"), { code: "out-of-bounds" });
  assert.equal(bus.digest(), before);
  assert.equal(await compiler.run("main"), 80);
});

Deno.test("compiler_pipeline.ts tells what ran", async () => {
  const lines: string[] = [];
  const dir = await Deno.makeTempDir();
  await main(dir, (line) => lines.push(line));
  await Deno.remove(dir, { recursive: true });
  const counts = lines.map((line) => [...line.matchAll(/(?:ed) (\d+)/g)].map((m) => Number(m[1])));
  assert.deepEqual(counts.slice(0, 4), [[1, 4, 4, 1], [1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]]);
  assert.match(lines[5], /In "main": "\)" expected, found "the end"$/);
  assert.match(lines[7], /stale: code 0; program invalidated: true$/);
});
