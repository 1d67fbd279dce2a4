/**
 * A pattern for directories that are to be damaged: in each tick one page of several is written whole, and one counts all ticks.
 * What every page must hold after any tick follows from the tick's number, so that damage in one tick hurts few
 * pages, and wrong bytes show wherever they come from.
 */

import assert from "node:assert/strict";
import type { StateBus } from "../src/bus/mod.ts";
import type { SalvageReport } from "../src/log/mod.ts";
import { assertSameBytes } from "./_same.ts";

/** Sizes of the pages that are written in turn. */
const SIZES: readonly number[] = [8, 64, 256, 1000, 4096, 40, 512, 20_000, 16, 128, 2048, 4];
const COUNTER = "counter";

function nameOf(index: number): string {
  return `page ${index}`;
}

/** What a tick writes to a page. */
function bytesOf(tick: number, index: number): Uint8Array<ArrayBuffer> {
  let word = Math.imul(tick, 0x9e37_79b1) + 977 * index | 0;
  const words = Int32Array.from(
    { length: SIZES[index] / 4 },
    () => word = Math.imul(word, 1_664_525) + 1_013_904_223 | 0,
  );
  return new Uint8Array(words.buffer);
}

/** Writes so many ticks more; each is durable when this settles. */
export async function writePattern(bus: StateBus, ticks: number): Promise<void> {
  for (let i = 0; i < ticks; i++) await writeTick(bus);
}

/** Writes the next tick. */
export async function writeTick(bus: StateBus): Promise<void> {
  const tick = bus.tickNumber + 1;
  await bus.commit(() => {
    if (tick === 1) {
      SIZES.forEach((size, index) => bus.createPage({ size, name: nameOf(index) }));
      bus.createPage({ size: 4, name: COUNTER });
    }
    const index = tick % SIZES.length;
    bus.find(nameOf(index))!.write(0, bytesOf(tick, index), { source: `tick ${tick}` });
    bus.find(COUNTER)!.combine("u32", "add", 0, 1);
  });
  assert.equal(bus.tickNumber, tick);
}

/** What a page holds after a tick, and its epoch. */
function stateOf(tick: number, index: number): { bytes: Uint8Array; epoch: number } {
  const last = tick - (tick - index % SIZES.length + SIZES.length) % SIZES.length;
  if (last < 1) return { bytes: new Uint8Array(SIZES[index]), epoch: 0 };
  return {
    bytes: bytesOf(last, index),
    epoch: Math.floor((last - index) / SIZES.length) + (index === 0 ? 0 : 1),
  };
}

/** Checks that a bus holds what its last tick left, all of it. */
export function checkDamagePattern(bus: StateBus): void {
  const tick = bus.tickNumber;
  assert.equal(
    [...bus.pages()].length,
    tick === 0 ? 0 : SIZES.length + 1,
    `pages after tick ${tick}`,
  );
  if (tick === 0) return;
  for (let index = 0; index < SIZES.length; index++) {
    const page = bus.find(nameOf(index)), { bytes, epoch } = stateOf(tick, index);
    assert(page !== undefined, `${nameOf(index)} is there after tick ${tick}`);
    assertSameBytes(page.read(), bytes, `${nameOf(index)} after tick ${tick}`);
    assert.equal(page.epoch, epoch, `epoch of ${nameOf(index)} after tick ${tick}`);
  }
  const counter = bus.find(COUNTER)!;
  assert.equal(new Uint32Array(counter.read().buffer)[0], tick, `the counter after tick ${tick}`);
  assert.equal(counter.epoch, tick);
}

/**
 * Checks what a salvage saved: a page that it does not name as hurt or lost holds what the ticks that are not lost left; one that it
 * names holds what some tick wrote to it, or nothing yet, and never anything else. A tick that is lost with all its
 * frames leaves nobody who knows its pages, so the salvage names the tick in place of them.
 *
 * @returns How many pages are just what the last tick left.
 */
export function checkSalvaged(bus: StateBus, report: SalvageReport): number {
  const tick = bus.tickNumber;
  const named = new Set([...report.pagesHurt, ...report.pagesLost].map(({ page }) => page));
  const isLost = (each: number) =>
    report.ticksLost.some(({ first, last }) => each >= first && each <= last);
  let whole = 0;
  for (const page of bus.pages()) {
    const index = page.name === COUNTER ? -1 : Number(page.name.slice(nameOf(0).length - 1));
    if (page.size !== (index < 0 ? 4 : SIZES[index])) {
      assert.fail(`page ${page.id} "${page.name}" of ${page.size} B was never made`);
    }
    const found = page.read(), ticks = index < 0 ? [] : ticksOf(index, tick);
    const kept = ticks.filter((each) => !isLost(each));
    if (index < 0) {
      const [counted] = new Uint32Array(found.buffer);
      const lost = Array.from({ length: tick }, (_, i) => i + 1).filter(isLost).length;
      if (named.has(page.id)) assert(counted <= tick, "the counter counts no tick that never was");
      // A checkpoint behind lost ticks brings back what they made.
      else {
        const isPossible = counted >= tick - lost && counted <= tick;
        assert(isPossible, `the counter is ${counted} after tick ${tick}, ${lost} lost`);
      }
      if (counted === tick) whole++;
      continue;
    }
    if (named.has(page.id)) {
      const isOfSomeTick = found.every((byte) => byte === 0) ||
        ticks.some((each) => bytesOf(each, index).every((byte, i) => byte === found[i]));
      assert(isOfSomeTick, `${page.name} holds bytes that no tick wrote`);
    } else {
      const last = kept.at(-1), restored = ticks.filter((each) => each > (last ?? 0)).toReversed();
      // A checkpoint behind lost ticks brings back what they made.
      if (restored.some((each) => bytesOf(each, index).every((byte, i) => byte === found[i]))) {
        continue;
      }
      const expected = last === undefined ? new Uint8Array(SIZES[index]) : bytesOf(last, index);
      assertSameBytes(
        found,
        expected,
        `${page.name}, which is not named as hurt, after tick ${tick}`,
      );
    }
    if (!named.has(page.id) && kept.length === ticks.length) {
      assert.equal(page.epoch, ticks.length, `epoch of ${page.name}, which lost nothing`);
      whole++;
    }
  }
  return whole;
}

function ticksOf(index: number, tick: number): number[] {
  const ticks: number[] = [];
  for (let each = index === 0 ? SIZES.length : index; each <= tick; each += SIZES.length) {
    ticks.push(each);
  }
  return ticks;
}
