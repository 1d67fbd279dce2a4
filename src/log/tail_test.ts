/** Reading a lane on while it is written, over the ends of segments, lost marks, cuts and damage. */

import assert from "node:assert/strict";
import { tickBytes } from "./_frames_test.ts";
import {
  appendTicks,
  lanesOf,
  pathOf,
  range,
  type SegmentSpec,
  smallWriter,
} from "./_lanes_test.ts";
import { FRAME_HEADER_BYTES, segmentPath } from "./format.ts";
import { LogTail } from "./log_tail.ts";
import { MemoryStorage } from "./memory_storage.ts";
import { LaneTail } from "./tail.ts";

/** All that a lane gives now. */
function ticksOf(tail: LaneTail | LogTail): number[] {
  const ticks: number[] = [];
  for (let tick = tail.next(); tick !== undefined; tick = tail.next()) ticks.push(tick.tick);
  return ticks;
}

Deno.test("LaneTail gives each tick once it is there, over many segments", async () => {
  const storage = new MemoryStorage();
  const tail = new LaneTail(storage, 0);
  assert.equal(tail.next(), undefined, "there is no lane yet");
  const writer = smallWriter(storage);
  assert.equal(tail.next(), undefined, "there is no tick yet");
  for (let tick = 1; tick <= 40; tick += 1 + tick % 3) {
    const last = tick + tick % 3;
    await appendTicks(writer, tick, last);
    assert.deepEqual(ticksOf(tail), range(tick, last));
    if (tick % 2) tail.release();
  }
  assert.deepEqual(tail.place, writer.place);
  assert.equal(tail.fault, undefined);
  await writer.close();
});

Deno.test("LaneTail reads a tick again that was half written when it looked", () => {
  const whole = tickBytes({ tick: 1 }), next = tickBytes({ tick: 2 });
  const storage = lanesOf([{ content: [whole], padding: 4000 }]);
  const file = storage.open(segmentPath(0, 1), "write"), at = 64 + whole.length;
  const tail = new LaneTail(storage, 0);
  assert.deepEqual(ticksOf(tail), [1]);
  for (let written = 0; written < next.length; written += 40) {
    file.write(next.subarray(0, written), at);
    assert.equal(tail.next(), undefined, `${written} bytes`);
  }
  file.write(next, at);
  assert.deepEqual(ticksOf(tail), [2]);
  file.close();
});

Deno.test("LaneTail goes on in the next segment where a mark is lost, or a writer was cut", () => {
  const first: SegmentSpec = { content: [{ tick: 1 }, { tick: 2 }], padding: 300 };
  const end = 64 + tickBytes({ tick: 1 }).length + tickBytes({ tick: 2 }).length;
  for (const position of [end, end + FRAME_HEADER_BYTES]) {
    const second = { position, incarnation: 2, content: [{ tick: 3 }] };
    assert.deepEqual(ticksOf(new LaneTail(lanesOf([first, second]), 0)), [1, 2, 3]);
  }
});

Deno.test("LaneTail names what is lost once the lane goes on behind it, and what was taken back", () => {
  const first: SegmentSpec = { content: [{ tick: 1 }, { tick: 2 }] };
  const end = 64 + tickBytes({ tick: 1 }).length + tickBytes({ tick: 2 }).length;
  const storage = lanesOf([first, { position: end, content: [{ tick: 3 }] }]);
  const image = storage.image();
  image.get(pathOf(0, 1))![end - 100] ^= 1;
  const flipped = new LaneTail(new MemoryStorage({ image }), 0);
  assert.deepEqual(ticksOf(flipped), [1]);
  assert.deepEqual([flipped.fault?.path, flipped.tick], [pathOf(0, 1), 1]);
  assert(flipped.fault!.offset > 64 && flipped.fault!.offset < end);
  const gap = new LaneTail(lanesOf([first, { position: end + 1000, content: [{ tick: 9 }] }]), 0);
  assert.deepEqual(ticksOf(gap), [1, 2]);
  assert.notEqual(gap.fault, undefined);
  const missing = lanesOf([first, { number: 3, position: end, content: [{ tick: 3 }] }]);
  const absent = new LaneTail(missing, 0);
  assert.deepEqual(ticksOf(absent), [1, 2]);
  assert.deepEqual([absent.fault?.path, absent.fault?.offset], [segmentPath(0, 2), 0]);
  const back = new LaneTail(lanesOf([first, { position: 200, content: [{ tick: 2 }] }]), 0);
  assert.deepEqual(ticksOf(back), [1, 2]);
  assert.match(back.fault!.reason, /taken back/);
});

Deno.test("LogTail gives a tick when every lane that took part has it, whichever comes first", () => {
  const lanes = [0, 1];
  const both = lanes.map((lane): SegmentSpec => ({
    lane,
    content: [{ tick: 1, lanes }, ...(lane === 0 ? [{ tick: 2 }] : []), { tick: 3, lanes }],
    padding: 100,
  }));
  const whole = lanesOf(both), image = whole.image();
  const tail = new LogTail(new MemoryStorage({ image }), undefined);
  assert.deepEqual(ticksOf(tail), [1, 2, 3]);
  const again = new LogTail(whole, undefined, tail.place);
  assert.deepEqual([ticksOf(again), again.fault], [[], undefined]);
  const late = lanesOf([both[0], { lane: 1, content: [{ tick: 1, lanes }], padding: 1000 }]);
  const waiting = new LogTail(late, undefined);
  assert.deepEqual(ticksOf(waiting), [1, 2]);
  const file = late.open(segmentPath(1, 1), "write");
  file.write(
    tickBytes({ tick: 3, lane: 1, lanes }),
    64 + tickBytes({ tick: 1, lane: 1, lanes }).length,
  );
  file.close();
  assert.deepEqual(ticksOf(waiting), [3]);
  assert.deepEqual(waiting.place.tick, 3);
  const lost = lanesOf([{ lane: 0, content: [{ tick: 1 }, { tick: 3 }] }]);
  const gap = new LogTail(lost, undefined);
  assert.deepEqual(ticksOf(gap), [1]);
  assert.match(gap.fault!.reason, /tick 2 is missing/);
});

Deno.test("LaneTail sees what was written after it had read on", async () => {
  const storage = new MemoryStorage(),
    writer = smallWriter(storage),
    tail = new LaneTail(storage, 0);
  await appendTicks(writer, 1, 1);
  for (let tick = 1; tick < 20; tick++) {
    assert.equal(tail.next()?.tick, tick);
    await appendTicks(writer, tick + 1, tick + 1);
  }
  await writer.close();
});
