/**
 * The validators on small work, and on logs and states that are wrong: what they are for is to find
 * that.
 */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";
import { Checkpoint } from "../log/checkpoint_reader.ts";
import { auditLog, FileStorage } from "../log/mod.ts";
import { runCycle } from "./_cycle.ts";
import { putTogether, takeApart } from "./_forge.ts";
import { FORMS, FROM_CHECKPOINT, replay } from "./_forms.ts";
import { SAMPLE_SHARDS, sampleLog } from "./_sample_log.ts";
import {
  type BusState,
  decodeState,
  digestOf,
  divergenceOf,
  encodeState,
  type PageImage,
  stateOfBus,
} from "./_state.ts";
import { validators } from "./mod.ts";
import type { ValidatorContext } from "./validator.ts";

const PAGE: PageImage = {
  bytes: Uint8Array.of(1, 2, 3),
  epoch: 7,
  shard: 2,
  name: "bøard",
  metadata: Uint8Array.of(9),
};
const STATE: BusState = new Map([[5, PAGE], [2, { ...PAGE, name: "", epoch: 2 ** 40 }]]);

function contextOf(directory?: string): ValidatorContext {
  return { quick: true, seed: 1, progress: () => {}, ...(directory ? { directory } : {}) };
}

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-validators-" });
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A directory with some ticks. */
async function fill(dir: string, ticks = 20): Promise<void> {
  await using bus = await StateBus.open({ dir });
  const page = bus.createPage({ size: 64, name: "board" });
  for (let tick = 0; tick < ticks; tick++) {
    await bus.commit(() => page.write(tick % 64, Uint8Array.of(tick), { source: "test" }));
  }
}

Deno.test("divergenceOf() is the root of the sum of squares, and infinite for what no sum shows", () => {
  const changed = (page: Partial<PageImage>) => new Map([...STATE, [5, { ...PAGE, ...page }]]);
  assert.deepEqual(divergenceOf(STATE, changed({})), { value: 0 });
  assert.deepEqual(divergenceOf(STATE, changed({ bytes: Uint8Array.of(4, 6, 3) })), {
    value: 5,
    found: "page 5: its bytes differ",
  });
  const infinite: readonly (readonly [BusState, RegExp])[] = [
    [new Map([[5, PAGE]]), /page 2: it is missing/],
    [new Map([...STATE, [9, PAGE]]), /page 9: it is one too many/],
    [changed({ epoch: 8 }), /its epoch is 8, not 7/],
    [changed({ shard: 3 }), /its shard is 3, not 2/],
    [changed({ name: "x" }), /its name is "x", not "bøard"/],
    [changed({ metadata: new Uint8Array() }), /its metadata differs/],
    [changed({ bytes: new Uint8Array(4) }), /its size is 4, not 3/],
  ];
  for (const [state, message] of infinite) {
    const { value, found } = divergenceOf(STATE, state);
    assert.equal(value, Infinity);
    assert.match(found!, message);
  }
});

Deno.test("encodeState() comes back as it was, and digestOf() tells epochs apart", () => {
  const back = decodeState(encodeState(STATE));
  assert.deepEqual(divergenceOf(STATE, back), { value: 0 });
  assert.equal(digestOf(back), digestOf(STATE));
  const other = new Map([...STATE, [5, { ...PAGE, epoch: 8 }]]);
  assert.notEqual(digestOf(other), digestOf(STATE));
  // A byte order mark is part of a name.
  const marked = new Map([[5, { ...PAGE, name: "\ufeffboard" }]]);
  assert.deepEqual(divergenceOf(marked, decodeState(encodeState(marked))), { value: 0 });
});

Deno.test("runCycle() finds bus, reopened bus and model alike, and its log without fault", async () => {
  let deltas = 0, refused = 0;
  for (let seed = 5000; seed < 5060; seed++) {
    const outcome = await runCycle(seed);
    assert.deepEqual([outcome.reopened, outcome.model], [{ value: 0 }, { value: 0 }], `${seed}`);
    assert.equal(outcome.refused[0], outcome.refused[1], `seed ${seed}`);
    assert.deepEqual(auditLog(outcome.storage).problems, [], `seed ${seed}`);
    deltas += outcome.deltas;
    refused += outcome.refused[0];
  }
  assert(deltas > 1000 && refused > 60, `${deltas} deltas, ${refused} refused`);
});

Deno.test("all forms of replay give the state of the live bus", async () => {
  await withFolder(async (folder) => {
    const bus = await StateBus.open({ dir: folder });
    const page = bus.createPage({ size: 64, name: "board" });
    for (let tick = 0; tick < 5; tick++) {
      await bus.commit(() => page.combine("f64", "add", 8, tick / 3, { source: "test" }));
      if (tick === 1) await bus.checkpoint();
    }
    // The writer still has the directory.
    const live = stateOfBus(bus);
    for (const [name, form] of Object.entries(FORMS)) {
      const replayed = await form({ directory: folder, tick: Infinity });
      assert.equal(replayed.digest, digestOf(live), name);
      assert.deepEqual(divergenceOf(live, replayed.state!), { value: 0 }, name);
      assert.equal((await form({ directory: folder, tick: 3 })).tick, 3, name);
      assert.equal(replayed.checkpoint, name === FROM_CHECKPOINT ? 2 : undefined, name);
    }
    await bus.close();
  });
});

Deno.test("the form of replay from a checkpoint takes its pages from there", async () => {
  await withFolder(async (folder) => {
    await fill(folder, 3);
    const bus = await StateBus.open({ dir: folder });
    await bus.checkpoint();
    await bus.close();
    const task = { directory: folder, tick: Infinity };
    const { load } = Checkpoint.prototype;
    Checkpoint.prototype.load = function (store) {
      const images = load.call(this, store);
      store.view(store.table.rowOf(1))[63] ^= 1;
      return images;
    };
    try {
      const { digest, state } = await FORMS["from the start"](task);
      const other = await FORMS[FROM_CHECKPOINT](task);
      assert.notEqual(other.digest, digest);
      assert.equal(divergenceOf(state!, other.state!).value, 1);
    } finally {
      Checkpoint.prototype.load = load;
    }
  });
});

Deno.test("forms of replay in other places hand errors on", async () => {
  for (const name of ["in a worker thread", "in another process"]) {
    await withFolder(async (folder) => {
      await Deno.writeTextFile(`${folder}/meta.json`, "{");
      await assert.rejects(FORMS[name]({ directory: folder, tick: 1 }), { code: "corrupt-log" });
    });
  }
});

Deno.test("validators 1 and 2 pass on a user's directory, also while it is written, and change nothing", async () => {
  await withFolder(async (folder) => {
    await fill(folder);
    const before = filesOf(folder);
    for (const { name, run } of validators.slice(0, 2)) {
      const measured = await run(contextOf(folder));
      assert.equal(measured.damage, undefined, name);
      for (const [metric, value] of Object.entries(measured.metrics)) {
        const expected = { divergence: 0, validPercent: 100, orphans: 0 }[metric];
        assert.equal(value, expected, `${name}: ${metric}`);
      }
    }
    assert.deepEqual(filesOf(folder), before);

    const bus = await StateBus.open({ dir: folder });
    await bus.checkpoint();
    const page = bus.find("board")!;
    let ticks = 0, isDone = false;
    const writing = (async () => {
      while (!isDone) {
        await bus.commit(() => page.write(0, Uint8Array.of(ticks++)));
        // A turn for the validators.
        await new Promise((resolve) => setTimeout(resolve));
      }
    })();
    for (const { name, run } of validators.slice(0, 2)) {
      const { damage, metrics, notes } = await run(contextOf(folder));
      assert.equal(damage, undefined, name);
      assert.equal(metrics.formsAgreed ?? 5, 5, `${name}: ${notes}`);
      assert.equal(metrics.validPercent ?? 100, 100, `${name}: ${notes}`);
    }
    isDone = true;
    await writing;
    assert(ticks > 0);
    assert((await bus.verify()).ok);
    await bus.close();
  });
});

Deno.test("validators 1 and 2 name the place of damage in a user's directory", async () => {
  await withFolder(async (folder) => {
    await fill(folder);
    const path = `${folder}/lane-00/0000000001.log`;
    const bytes = await Deno.readFile(path);
    bytes[bytes.length >> 1] ^= 1;
    await Deno.writeFile(path, bytes);
    const [replayed, integrity] = validators;
    assert.match((await replayed.run(contextOf(folder))).damage!, /validator 2 says where/);
    const place = `lane-00/0000000001.log, byte ${bytes.length >> 1}: 0x`;
    assert((await integrity.run(contextOf(folder))).damage!.startsWith(place));
    assert.equal(replay({ directory: folder, tick: Infinity }).tick < 20, true);
  });
});

Deno.test("validator 2 names a damaged checkpoint in a user's directory, and none in a good one", async () => {
  await withFolder(async (folder) => {
    await fill(folder);
    const bus = await StateBus.open({ dir: folder });
    const { path } = await bus.checkpoint();
    await bus.close();
    const [, integrity] = validators;
    const good = await integrity.run(contextOf(folder));
    assert.equal(good.damage, undefined);
    assert.match(good.notes!.join("\n"), /^1 checkpoint is whole and leads where the log leads$/m);
    const bytes = await Deno.readFile(`${folder}/${path}`);
    for (const at of [20, bytes.length >> 1, bytes.length - 20]) {
      const flipped = bytes.slice();
      flipped[at] ^= 1;
      await Deno.writeFile(`${folder}/${path}`, flipped);
      const { damage, notes } = await integrity.run(contextOf(folder));
      assert(damage!.startsWith(`${path}, byte ${at}: 0x`), damage);
      assert.match(notes!.join("\n"), /delete/);
      assert.doesNotMatch(notes!.join("\n"), /checkpoint is whole/);
    }
  });
});

Deno.test("validators 1 and 2 take an empty bus, and a torn tail as none of their business", async () => {
  await withFolder(async (folder) => {
    await (await StateBus.open({ dir: folder })).close();
    for (const { run } of validators.slice(0, 2)) {
      const { metrics, samples } = await run(contextOf(folder));
      assert(samples >= 1);
      assert.equal(metrics.divergence ?? 0, 0);
      assert.equal(metrics.validPercent ?? 100, 100);
    }
  });
  await withFolder(async (folder) => {
    const log = putTogether(takeApart(await sampleLog(4)).slice(0, 8), SAMPLE_SHARDS);
    // With the metadata of a log that nobody closed.
    const open = putTogether([], SAMPLE_SHARDS).storage;
    const image = new Map([...log.storage.image(), ...open.image()]);
    image.set(log.path, log.storage.readAll(log.path)!.slice(0, -300));
    await Deno.mkdir(`${folder}/lane-00`);
    for (const [path, bytes] of image) await Deno.writeFile(`${folder}/${path}`, bytes);
    for (const { run } of validators.slice(0, 2)) {
      const { damage, notes } = await run(contextOf(folder));
      assert.equal(damage, undefined);
      assert.match(notes!.join("\n"), /a torn tail, which the next open cuts: lane-00/);
    }
  });
});

Deno.test("validators pass on their own work in a quick run", async () => {
  const [replay, integrity] = validators;
  const first = await replay.run(contextOf());
  assert.deepEqual(first.metrics, {
    divergence: 0,
    cycles: 50,
    formsAgreed: 5,
    lostTicks: 0,
    wrongTotals: 0,
    wrongSums: 0,
    wrongRows: 0,
  });
  const second = await integrity.run(contextOf());
  assert.deepEqual(second.metrics, { validPercent: 100, orphans: 0, plantedFound: 100 });
  assert.match(first.notes!.join("\n"), /killed \(SIGKILL\) with tick \d+ acknowledged/);
  const notes = first.notes!.join("\n");
  assert.match(
    notes,
    /checkpoint of tick \d+, made (while ticks \d+ to \d+ went on|between two ticks)/,
  );
  const [, part, all] = /replayed ([\d,]+) of their ([\d,]+) deltas over the checkpoint/.exec(
    notes,
  )!;
  const number = (text: string) => Number(text.replaceAll(",", ""));
  assert(number(part) > 0 && number(part) < number(all), `${part} of ${all}`);
  assert.equal(
    notes.match(/as of tick \d+: [\d,]+ rows, .* equal those of the file's first/g)?.length,
    2,
  );
});

/** All files of a folder: name, size, time of change, bytes. */
function filesOf(folder: string): string[] {
  const storage = new FileStorage(folder);
  const paths = ["", "lane-00/"].flatMap((prefix) =>
    storage.list(prefix.replace("/", "")).map((name) => prefix + name)
  );
  return paths.map((path) => {
    const { size, mtime, isFile } = Deno.statSync(`${folder}/${path}`);
    return isFile ? `${path} ${size} ${mtime?.getTime()} ${storage.readAll(path)}` : path;
  });
}
