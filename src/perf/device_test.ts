/** Runs with a device: what the reports say of it, when nothing ran on it, and what becomes of times. */

import assert from "node:assert/strict";
import { describeMachine } from "./machine.ts";
import { isComparable } from "./comparable.ts";
import { isDeviceIdle, untimedReason } from "./device.ts";
import { jsonReport } from "./report_json.ts";
import { junitReport } from "./report_junit.ts";
import { markdownReport } from "./report_markdown.ts";
import { terminalReport } from "./report_terminal.ts";
import { runBenchmarks, type RunReport } from "./runner.ts";
import { parseResult } from "./stored_result.ts";
import { loadTargets } from "./targets.ts";
import type { RunDevice, Validator } from "../validators/validator.ts";

const NONE = { batches: 0, rows: 0, rules: 0 };
const SOFTWARE = { name: "llvmpipe", vendor: "mesa", driver: "Mesa 25", isSoftware: true };
const READY: RunDevice = {
  asked: "gpu",
  state: "ready",
  reason: "",
  adapter: SOFTWARE,
  counts: { batches: 1, rows: 1200, rules: 2 },
};

/** A validator that opens no bus. */
const purity: Validator = {
  id: 4,
  name: "Purity",
  run: () =>
    Promise.resolve({
      metrics: { sideEffects: 0, agreePercent: 100, plantedFound: 100 },
      samples: 30,
    }),
};

async function runOf(validator: Validator, device?: "cpu" | "gpu" | "auto"): Promise<RunReport> {
  return await runBenchmarks({
    validators: [validator],
    targets: await loadTargets(),
    only: [validator.id],
    startedAt: new Date(0),
    ...(device === undefined ? {} : { device }),
  });
}

Deno.test("runBenchmarks() fails where a GPU was asked for, is there, and had nothing to do", async () => {
  const report = await runOf(purity, "gpu"), text = terminalReport(report);
  assert.equal(report.counts.passed, 1);
  if (report.device!.state === "none") {
    assert.equal(report.exitCode, 0);
    assert.match(text, /^Device: gpu asked for, everything ran on the CPU: .+$/m);
    return;
  }
  assert.equal(report.exitCode, 1);
  assert.match(text, /^Device: .+NOTHING ran on it, so the GPU was not checked$/m);
  assert.match(text, /^Result: 1\/1 PASS – nothing ran on the GPU, so exit code 1$/m);
  assert.match(text, /on the GPU: 0 rows in 0 batches, 0 runs of rules/);
});

Deno.test("runBenchmarks() with auto or cpu does not ask that anything runs on a GPU", async () => {
  const auto = await runOf(purity, "auto");
  assert.deepEqual([auto.exitCode, auto.device!.asked, auto.device!.counts], [0, "auto", NONE]);
  for (const device of ["cpu", undefined] as const) {
    const report = await runOf(purity, device);
    assert.deepEqual([report.exitCode, report.device], [0, undefined]);
    assert(!terminalReport(report).includes("Device"));
  }
});

Deno.test("isDeviceIdle() excuses only a machine without an adapter", () => {
  assert(!isDeviceIdle(undefined) && !isDeviceIdle(READY));
  assert(!isDeviceIdle({ ...READY, counts: { ...NONE, rules: 1 } }));
  assert(isDeviceIdle({ ...READY, counts: NONE }));
  assert(isDeviceIdle({ ...READY, state: "failed", counts: NONE }));
  assert(!isDeviceIdle({ ...READY, state: "none", counts: NONE }));
  assert(!isDeviceIdle({ ...READY, asked: "auto", counts: NONE }));
});

Deno.test("reports tell the device, and a stored result has it again", async () => {
  const report = { ...await runOf(purity), device: READY };
  const line = "gpu, llvmpipe (software, no figures of a GPU; Mesa 25): " +
    "on it ran 1,200 rows in 1 batch, 2 runs of rules";
  assert.match(terminalReport(report), new RegExp(`^Device: ${escaped(line)}$`, "m"));
  assert(markdownReport(report).includes(`Device: ${line}`));
  assert(junitReport(report).includes(`<property name="device" value="${line}"/>`));
  const stored = parseResult(jsonReport(report, describeMachine()), "latest.json");
  assert.deepEqual(stored.device, READY);
  const lost = { ...READY, state: "lost", reason: "its driver\ngave it up" };
  assert.match(
    terminalReport({ ...report, device: lost }),
    /in the end lost: its driver gave it up/,
  );
});

Deno.test("isComparable() keeps runs with a device from runs of the CPU, and of other devices", async () => {
  const { quick } = await runOf(purity), machine = describeMachine();
  const cpu = { machine, quick }, gpu = { machine, quick, device: READY };
  assert(isComparable(cpu, cpu) && isComparable(gpu, gpu) && !isComparable(cpu, gpu));
  const other = { ...gpu, device: { ...READY, adapter: { ...SOFTWARE, name: "other" } } };
  assert(!isComparable(gpu, other));
});

Deno.test("times are judged with every device but a software one", async () => {
  assert.equal(untimedReason(undefined), undefined);
  assert.equal(untimedReason({ ...READY, adapter: { ...SOFTWARE, isSoftware: false } }), undefined);
  assert.match(untimedReason(READY)!, /llvmpipe computes on the CPU/);
  const slow: Validator = {
    id: 6,
    name: "Tick",
    run: () =>
      Promise.resolve({
        metrics: { meanMs: 99, p99Ms: 99, ticks: 600, wrongRuns: 0, wrongPages: 0 },
        samples: 600,
      }),
  };
  const { benchmarks: [onCpu] } = await runOf(slow), report = await runOf(slow, "gpu");
  assert.equal(onCpu.status, "failed");
  const [onGpu] = report.benchmarks, { adapter } = report.device!;
  assert.equal(onGpu.status, adapter?.isSoftware ? "passed" : "failed");
  assert.deepEqual(
    onGpu.verdicts.filter(({ verdict }) => verdict === "met").map(({ name }) => name),
    ["ticks", "wrongRuns", "wrongPages"],
  );
});

function escaped(text: string): string {
  return text.replace(/[()]/g, "\\$&");
}
