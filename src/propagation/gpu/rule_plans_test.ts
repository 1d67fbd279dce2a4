import assert from "node:assert/strict";
import { MmsbError } from "../../base/mod.ts";
import type { GpuThread } from "../../physical/gpu/gpu_thread.ts";
import { BoundRule } from "../bound_rule.ts";
import { defineRule } from "../rule.ts";
import { RulePlans, SHADER_LOSSES_MAX } from "./_rule_plans.ts";
import { checkShader } from "./rule_shader.ts";

const CODE = "@compute @workgroup_size(4) fn main() { output0[0] = 1u; }";
const rule = defineRule({
  wgsl: { code: CODE, threads: 4 },
  compute: (ctx) => ctx.output(0).setUint32(0, 1),
});

/** A thread that does with each question what it is told. */
function threadThat(answer: () => Promise<unknown>): { thread: GpuThread; asked: string[] } {
  const asked: string[] = [];
  const thread = {
    isReady: true,
    generation: 1,
    status: { state: "ready", reason: "", generation: 1 },
    keep(key: string) {
      asked.push(key);
      return answer();
    },
    drop: (key: string) => asked.push(`drop ${key}`),
    ask: answer,
  };
  return { thread: thread as unknown as GpuThread, asked };
}

function bind(): BoundRule {
  return new BoundRule({
    number: 1,
    name: "rule",
    inputIds: [1],
    outputIds: [2],
    stateIds: [],
    params: null,
    mode: "immediate",
    every: 1,
    finite: false,
  }, rule);
}

Deno.test("RulePlans.close() does not wait for a compiler that does not end", async () => {
  const { thread, asked } = threadThat(() => new Promise(() => {}));
  const plans = new RulePlans(thread, "gpu");
  assert.ok(plans.prepare("rule", rule, { inputs: 1, outputs: 1, state: 0 }));
  await plans.close();
  assert.deepEqual(asked.slice(1), [`drop ${asked[0]}`]);
});

Deno.test("RulePlans leaves a shader alone by which devices are lost, and no other", async () => {
  for (const isLost of [true, false]) {
    const { thread, asked } = threadThat(() =>
      Promise.reject(new MmsbError("gpu", "Cannot compile: this is a test", { values: { isLost } }))
    );
    const plans = new RulePlans(thread, "gpu"), plan = plans.of(bind())!;
    for (let tick = 0; tick < 10; tick++) {
      assert.equal(plans.canRun(plan), false);
      await plan.code!.done;
    }
    assert.equal(asked.length, isLost ? SHADER_LOSSES_MAX : 10);
    const { on, reason } = plans.deviceOf(plan);
    assert.equal(on, "cpu");
    if (isLost) assert.match(reason, /was lost 3 times in a row/);
    await plans.close();
  }
});

Deno.test("checkShader() reads long texts once, and refuses a workgroup that may be two sizes", () => {
  const threads = 4;
  checkShader({ code: CODE + "//\n".repeat(300_000), threads });
  checkShader({ code: CODE + "/**/ ".repeat(200_000), threads });
  assert.throws(() => checkShader({ code: "@a() ".repeat(200_000) + "fn main", threads }), {
    code: "usage",
  });
  const sized = "@workgroup_size(W) @compute fn main() { output0[0] = 1u; }";
  assert.deepEqual(checkShader({ code: `const W: u32 = 8u; ${sized}`, threads }).workgroup, [
    8,
    1,
    1,
  ]);
  for (const other of ["const W = 8;", "const W = 2 * 2;", "const W: i32 = 5i;"]) {
    const code = `fn f() { ${other} } const W = 4; ${sized}`;
    assert.throws(() => checkShader({ code, threads }), { code: "usage" });
  }
});
