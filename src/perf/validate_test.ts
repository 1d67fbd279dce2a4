/** `validate` from the outside: live buses that go on, directories that do not change, and wrong calls. */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";
import { MemoryStorage } from "../log/mod.ts";
import { defineRule } from "../propagation/mod.ts";
import { validate } from "./validate.ts";

const count = defineRule({
  compute: (ctx) => ctx.output(0).setUint32(0, ctx.output(0).getUint32(0) + 1),
});

/** All bytes and times of a folder. */
async function traces(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = `${folder}/${name}`;
    if (isDirectory) found.push(...await traces(path));
    else {
      const { mtime, ino } = await Deno.stat(path);
      const bytes = await crypto.subtle.digest("SHA-256", await Deno.readFile(path));
      found.push(`${path} ${mtime?.getTime()} ${ino} ${new Uint8Array(bytes).toHex()}`);
    }
  }
  return found.sort();
}

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-validate-test-" });
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function openCounting(dir: string): Promise<StateBus> {
  const bus = await StateBus.open({ dir });
  const source = bus.createPage({ size: 8, name: "source" });
  const target = bus.createPage({ size: 8, name: "target" });
  bus.rule(count, { name: "count", inputs: [source], outputs: [target] });
  for (let i = 1; i <= 20; i++) await bus.commit(() => source.write(0, Uint8Array.of(i)));
  return bus;
}

Deno.test("validate() looks at a live bus that goes on, and at its directory, and changes nothing", async () => {
  await withFolder(async (folder) => {
    const bus = await openCounting(folder), before = await traces(folder);
    bus.invariant("the source is never 255", (at) => at.read(bus.find("source")!)[0] !== 255);
    const said: string[] = [];
    const validating = validate(bus, {
      quick: true,
      rules: { count },
      progress: (text) => void said.push(text),
    });
    let ticks = 0, isOver = false;
    void validating.finally(() => isOver = true).catch(() => {});
    const source = bus.find("source")!;
    // The first ticks change the directory; who looks does not.
    assert.deepEqual(await traces(folder), before);
    while (!isOver) {
      await bus.commit(() => source.write(0, Uint8Array.of(100 + ticks++ % 50)));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const { benchmarks, exitCode, counts } = await validating;
    assert.equal(
      exitCode,
      0,
      JSON.stringify(benchmarks.map(({ reason, notes }) => [reason, notes])),
    );
    assert.deepEqual([counts.failed, counts["not built"]], [0, 0]);
    assert(ticks > 3 && said.length > 0);
    const notes = (id: number) => benchmarks.find((one) => one.id === id)!.notes.join("\n");
    assert.match(notes(1), /the bus's memory after tick \d+ is what its log leads to/);
    assert.match(
      notes(8),
      /1 invariant of the bus asked after tick \d+: "the source is never 255"/,
    );
    await bus.close();

    const closed = await traces(folder);
    assert.equal((await validate(folder, { quick: true })).exitCode, 0);
    assert.deepEqual(await traces(folder), closed);
  });
});

Deno.test("validate() names what it leaves out of a bus in memory, and an invariant that does not hold", async () => {
  await using bus = await StateBus.open();
  const page = bus.createPage({ size: 8, name: "board" });
  await bus.tick();
  let isGood = true;
  bus.invariant("good", () => isGood);
  await bus.commit(() => page.write(0, Uint8Array.of(1)));
  const { exitCode, benchmarks } = await validate(bus);
  assert.equal(exitCode, 0);
  for (const id of [1, 2, 4, 10]) {
    assert.match(benchmarks[id - 1].reason!, /^the bus is in memory: /);
  }
  for (const { reason, status } of benchmarks) assert(status === "passed" || reason !== undefined);
  isGood = false;
  const bad = await validate(bus, { only: [8] });
  assert.equal(bad.exitCode, 1);
  assert.match(bad.benchmarks[0].notes.join(), /"good" does not hold: it returned false/);
});

Deno.test("validate() refuses wrong calls with a code and what to do", async () => {
  await withFolder(async (folder) => {
    const file = `${folder}/file`;
    await Deno.writeTextFile(file, "text");
    await Deno.mkdir(`${folder}/empty`);
    await Deno.mkdir(`${folder}/newer`);
    await Deno.writeTextFile(`${folder}/newer/meta.json`, '{ "format": 99 }');
    const wrong = (target: unknown, options: unknown, code: string) =>
      assert.rejects(
        validate(target as string, options as never),
        { name: "MmsbError", code },
        `${target}`,
      );
    for (const target of [undefined, null, 7, "", {}, new URL("https://example.com/")]) {
      await wrong(target, {}, "usage");
    }
    for (const target of [`${folder}/none`, `${folder}/empty`, file]) {
      await assert.rejects(validate(target), { name: "MmsbError" });
    }
    for (
      const options of [
        null,
        7,
        { other: 1 },
        { only: 1 },
        { only: [NaN] },
        { only: [99] },
        { quick: 1 },
        { seed: -1 },
        { seed: 1n },
        { repeat: 0 },
        { targets: 7 },
        { rules: 7 },
        { rules: { a: 1 } },
        { progress: 7 },
        { ruleTimeoutMs: Infinity },
      ]
    ) {
      const { code } = await validate(folder, options as never).then(
        () => ({ code: "none" }),
        (e) => e,
      );
      assert.match(code, /^(usage|out-of-bounds)$/, JSON.stringify(options, (_, v) => String(v)));
    }
    const bus = await StateBus.open({ storage: new MemoryStorage() });
    await bus.close();
    await wrong(bus, {}, "closed");
    const { exitCode, benchmarks } = await validate(`${folder}/newer`, { only: [2] });
    assert.equal(exitCode, 1);
    assert.match(benchmarks[0].reason!, /^version: /);
  });
});
