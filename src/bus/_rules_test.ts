/** Tests of binding rules: parameters that JSON would change, rules in the place of others, and what names what is wrong. */

import assert from "node:assert/strict";
import * as fc from "fast-check";
import { isMmsbError, MmsbError } from "../base/mod.ts";
import { MemoryStorage } from "../log/mod.ts";
import { defineRule, type Rule } from "../propagation/mod.ts";
import { checkParams } from "./_rule_params.ts";
import { type Page, type RuleOptions, StateBus } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 22, segmentBytesMax: 65_536 };

/** The sum of its inputs and of its parameter. */
const sum: Rule = defineRule({
  compute(ctx) {
    const { inputs, plus } = ctx.params as { inputs: number; plus: number };
    let total = plus;
    for (let i = 0; i < inputs; i++) total += ctx.input(i).getInt32(0);
    ctx.output(0).setInt32(0, total);
  },
});

function bindSum(bus: StateBus, output: Page, inputs: Page[], plus: number, more = {}) {
  const params = { inputs: inputs.length, plus };
  return bus.rule(sum, { name: `sum ${output.id}`, inputs, outputs: [output], params, ...more });
}

const word = (page: Page) => new DataView(page.read().buffer).getInt32(0, true);
const bytesOf = (value: number) => new Uint8Array(Int32Array.of(value).buffer);

Deno.test("checkParams() names the first value that JSON would not give back", () => {
  const cyclic: { inner: unknown[] } = { inner: [] };
  cyclic.inner.push({ back: cyclic });
  let deep: unknown = 1;
  for (let i = 0; i < 70; i++) deep = [deep];
  const holes = [1, 2, 3];
  delete holes[1];
  const cases: [unknown, string, RegExp?][] = [
    [{ f() {} }, "params.f", /a function/],
    [{ a: [1, { x: NaN }], b: undefined }, "params.a[1].x", /NaN/],
    [{ "not a name": -Infinity }, 'params["not a name"]', /-Infinity/],
    [{ a: 1, b: undefined }, "params.b", /undefined/],
    [[undefined], "params[0]"],
    [{ at: new Date(0) }, "params.at", /class Date/],
    [new Map([[1, 2]]), "params", /class Map/],
    [{ bytes: Uint8Array.of(1) }, "params.bytes", /class Uint8Array/],
    [{ n: new Number(1) }, "params.n"],
    [1n, "params", /a bigint/],
    [{ s: Symbol("x") }, "params.s"],
    [{ [Symbol("x")]: 1 }, "params"],
    [cyclic, "params.inner[0].back", /inside of/],
    [holes, "params", /gaps/],
    [Object.assign([1], { more: 1 }), "params"],
    [() => 1, "params"],
    [deep, "params" + "[0]".repeat(65), /64 levels/],
  ];
  for (const [params, path, message = /./] of cases) {
    assert.throws(() => checkParams("r", params), (error) => {
      assert.ok(isMmsbError(error, "usage"), String(error));
      assert.equal(error.values.path, path);
      assert.match(error.message, message);
      assert.ok(error.message.includes(`as ${path} is `), error.message);
      return true;
    });
  }
  const many = Array.from({ length: 600_000 }, () => 0);
  assert.throws(() => checkParams("r", many), { code: "limit" });
  const twice = { x: 1 };
  checkParams("r", { a: [twice, twice, null, "", true, -0], b: Object.create(null) });
});

Deno.test("checkParams() takes whatever comes back from JSON as it was, and nothing else", () => {
  fc.assert(fc.property(fc.anything(), (params) => {
    let isTaken = true;
    try {
      checkParams("r", params);
    } catch (error) {
      assert.ok(error instanceof MmsbError, String(error));
      isTaken = false;
    }
    if (!isTaken) return;
    // JSON has no −0, and objects without prototype come back with one.
    const text = JSON.stringify(params),
      plain = (value: unknown): unknown => {
        if (typeof value === "number") return value + 0;
        if (Array.isArray(value)) return value.map(plain);
        if (typeof value !== "object" || value === null) return value;
        return new Map(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
      };
    assert.deepEqual(plain(JSON.parse(text)), plain(params));
  }));
});

Deno.test("StateBus.rule() refuses parameters before anything is staged, and names what is no page", async () => {
  await using bus = await StateBus.open(SMALL);
  const [a, b] = [16, 16].map((size) => bus.createPage({ size }));
  const bind = (more: Record<string, unknown>) => () =>
    bus.rule(sum, { name: "x", inputs: [a], outputs: [b], ...more } as RuleOptions);
  assert.throws(bind({ params: { low: { at: NaN } } }), {
    code: "usage",
    message:
      'Cannot bind rule "x" as params.low.at is NaN: give finite numbers, text, booleans, null, and arrays and plain objects of them',
  });
  assert.throws(bind({ inputs: ["a"] }), {
    message: 'Cannot use "a" as inputs: give a page, a struct, a table or the id of one',
  });
  for (const region of [null, undefined, {}, true, () => {}, 7n]) {
    assert.throws(bind({ outputs: [region] }), /give a page, a struct, a table or the id of one/);
  }
  assert.throws(bind({ inputs: [b] }), (error) => {
    assert.ok(isMmsbError(error, "cycle"));
    assert.deepEqual([error.values.page, error.values.cycle], [b.id, [b.id]]);
    return true;
  });
  assert.throws(bind({ inputs: [a], state: [a] }), { code: "usage" });
  assert.equal((await bus.tick()).fired, 0);
  assert.equal(bus.graph.version, 0);
});

Deno.test("StateBus.rule() with replace takes the place of a rule in one step", async () => {
  const storage = new MemoryStorage();
  await using bus = await StateBus.open({ ...SMALL, storage });
  const [a, b, c, d] = [16, 16, 16, 16].map((size) => bus.createPage({ size }));
  const first = bindSum(bus, c, [a], 1, { replace: true }); // nothing there yet: it is bound
  await bus.commit(() => a.write(0, bytesOf(5)));
  assert.equal(word(c), 6);
  const second = bindSum(bus, c, [a, b], 10, { replace: true });
  assert.throws(() => first.unbind(), { code: "invalid-handle" });
  assert.throws(() => bindSum(bus, c, [a], 3), { code: "usage", message: /or set replace/ });
  const third = bindSum(bus, c, [b, a], 20, { replace: true }); // before any tick took the second
  assert.throws(() => second.unbind(), { code: "invalid-handle" });
  const report = await bus.tick();
  assert.deepEqual([report.fired, word(c), third.fired], [1, 25, 1]);
  assert.deepEqual(bus.graph.edgesOut(b), [{ from: b.id, to: c.id, type: "data" }]);
  // The same binding once more is the same rule: nothing runs.
  const { number } = third, again = bindSum(bus, c, [b, a], 20, { replace: true });
  assert.deepEqual([again.number, (await bus.tick()).fired], [number, 0]);
  // Another output: the old one is a page as any other.
  bus.rule(sum, {
    name: `sum ${c.id}`,
    inputs: [a],
    outputs: [d],
    params: { inputs: 1, plus: 0 },
    replace: true,
  });
  await bus.commit(() => c.write(0, bytesOf(-1)));
  assert.deepEqual([word(c), word(d)], [-1, 5]);
  assert.deepEqual(bus.graph.edgesOut(b), []);
  assert.equal((await bus.verify()).ok, true);
});

Deno.test("A replacement that is refused leaves the rule that was there, in the call and in the tick", async () => {
  await using bus = await StateBus.open(SMALL);
  const [a, b, c] = [16, 16, 16].map((size) => bus.createPage({ size }));
  bindSum(bus, b, [a], 1);
  bindSum(bus, c, [b], 1);
  await bus.tick();
  const version = bus.graph.version;
  const stands = async (value: number) => {
    await bus.commit(() => a.write(0, bytesOf(value)));
    assert.deepEqual([word(b), word(c)], [value + 1, value + 2]);
  };
  assert.throws(() => bindSum(bus, b, [c], 0, { replace: true }), { code: "cycle" });
  assert.throws(() => bindSum(bus, b, [a, b], 0, { replace: true }), { code: "cycle" });
  assert.throws(() => bindSum(bus, b, [a], NaN, { replace: true }), { code: "usage" });
  assert.throws(() => bindSum(bus, b, [a], 0, { replace: true, state: [c] }), { code: "usage" });
  await stands(5);
  // A staged one is kept as well.
  bindSum(bus, b, [a, a], 1, { replace: true });
  assert.throws(() => bindSum(bus, b, [c], 0, { replace: true }), { code: "cycle" });
  await bus.tick();
  assert.equal(word(b), 11);
  bindSum(bus, b, [a], 1, { replace: true });
  await stands(6);
  const bad = defineRule({
    compute() {
      throw new Error("bad");
    },
  });
  const replaced = { name: `sum ${b.id}`, inputs: [a], outputs: [b], replace: true };
  bus.rule(bad, replaced);
  await assert.rejects(bus.tick(), { code: "rule" });
  await stands(7);
  assert.equal(bus.graph.version > version, true);
  assert.equal((await bus.verify()).ok, true);
});

Deno.test("A rule that is unbound keeps the edges that others have, and takes its own", async () => {
  await using bus = await StateBus.open(SMALL);
  const [shared, ...outputs] = Array.from({ length: 40 }, () => bus.createPage({ size: 16 }));
  const handles = outputs.map((output) => bindSum(bus, output, [shared], 1));
  await bus.tick();
  for (const [at, handle] of handles.entries()) if (at % 2 === 0) handle.unbind();
  assert.throws(() => bus.removeEdge(shared, outputs[1], "data"), { code: "usage" });
  await bus.tick();
  assert.deepEqual(
    bus.graph.edgesOut(shared).map(({ to }) => to).sort((x, y) => x - y),
    outputs.filter((_, at) => at % 2 === 1).map(({ id }) => id),
  );
  assert.equal((await bus.verify()).ok, true);
});
