/** A user's rules in WGSL: on the device beside their twins, and stored floats that a device may have computed. */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";
import { defineRule, type Rule, type RuleContext } from "../propagation/mod.ts";
import { validate } from "./validate.ts";

const WORDS = 16;

function shader(body: string, more: object = {}) {
  const code = `@compute @workgroup_size(16) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= threads.x) { return; }
  ${body}
}`;
  return { code, threads: WORDS, ...more };
}

function each(write: (ctx: RuleContext, at: number, word: number) => void) {
  return (ctx: RuleContext) => {
    for (let at = 0; at < 4 * WORDS; at += 4) write(ctx, at, ctx.input(0).getUint32(at));
  };
}

const doubled = each((ctx, at, word) => ctx.output(0).setUint32(at, 2 * word));

/** Stores what a rule computes, and checks it with another one of the same name. */
async function checked(stored: Rule, given: Rule, device: "cpu" | "gpu") {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-validate-device-" });
  try {
    {
      await using bus = await StateBus.open({ dir });
      const input = bus.createPage({ size: 4 * WORDS }),
        output = bus.createPage({ size: 4 * WORDS });
      bus.rule(stored, { name: "rule", inputs: [input], outputs: [output] });
      await bus.commit(() => input.write(0, Uint8Array.from({ length: 64 }, (_, i) => i)));
    }
    const report = await validate(dir, { only: [4], rules: { rule: given }, device });
    const [{ status, notes }] = report.benchmarks;
    return { status, text: notes.join("\n"), device: report.device, exitCode: report.exitCode };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("validate() runs a user's rules in WGSL on the device, and finds one that is not its twin", async () => {
  const good = defineRule({ wgsl: shader("output0[id.x] = input0[id.x] * 2u;"), compute: doubled });
  const wrong = defineRule({
    wgsl: shader("output0[id.x] = input0[id.x] * 3u;"),
    compute: doubled,
  });
  const found = await checked(good, good, "gpu"), bad = await checked(good, wrong, "gpu");
  assert.deepEqual([found.status, found.exitCode], ["passed", 0], found.text);
  if (found.device!.state !== "ready") return assert.equal(bad.status, "passed");
  assert(found.device!.counts.rules > 0);
  assert.equal(bad.status, "failed");
  assert.match(bad.text, /rule "rule" of page \d+: .*shader/);
});

Deno.test("validate() takes stored floats that are as near as the rule allows, and no nearer integers", async () => {
  const value = (word: number) => 1 + (word & 0xff) / 256;
  const exact = each((ctx, at, word) => ctx.output(0).setFloat32(at, value(word)));
  // As a device would that rounds another way: two floats further.
  const near = defineRule({
    compute: each((ctx, at, word) => ctx.output(0).setFloat32(at, value(word) + 2 ** -22)),
  });
  const given = (outputs: string[], tolerance: number) =>
    defineRule({
      compute: exact,
      wgsl: { ...shader("output0[id.x] = 1.0;", { outputs }), tolerance } as Rule["wgsl"],
    });
  assert.equal((await checked(near, given(["f32"], 2), "cpu")).status, "passed");
  const far = await checked(near, given(["f32"], 1), "cpu");
  assert.equal(far.status, "failed");
  assert.match(far.text, /other bytes than are stored/);
  assert.equal((await checked(near, given(["u32"], 2), "cpu")).status, "failed");
});
