/**
 * Faults planted for validator 7: the work is done on a small bus that lies about one thing, and must tell it.
 */

import { cpuUsage } from "node:process";
import type { Page, StateBus } from "../bus/mod.ts";
import { DEATHS_A_TICK, type MemoryBus, MemoryFindings, MemoryWork } from "./_memory_work.ts";
import { openBus } from "./device_run.ts";
import type { PlantedResult } from "./validator.ts";

const PAGES: number = 2 * DEATHS_A_TICK;
const PAGE_BYTES = 1024;
const SIZES: Uint16Array = new Uint16Array(PAGES).fill(PAGE_BYTES);
const MEMORY_BYTES: number = 2 ** 23;
const PAUSE_MS = 5;
/** Pauses that are judged must be below it. */
const PAUSE_MS_MAX = 3;

/** What the work found, and by how much the arena grew when pages were deleted and came back. */
interface Found {
  readonly findings: MemoryFindings;
  readonly regrownBytes: number;
  readonly ownMs: readonly number[];
}

/** Creates pages, deletes them, creates them again, and reads all. */
async function work(lie: (bus: StateBus) => Partial<MemoryBus> = () => ({})): Promise<Found> {
  await using bus = await openBus({ memoryLimitBytes: MEMORY_BYTES });
  const findings = new MemoryFindings();
  const own: MemoryBus = {
    createPage: (options) => bus.createPage(options),
    page: (id) => bus.page(id),
    submit: (batch) => bus.submit(batch),
    tick: () => bus.tick(),
  };
  const memory = new MemoryWork(own, PAGE_BYTES, PAGE_BYTES * PAGES, findings);
  const ids = await memory.create(SIZES), { carvedBytes } = bus.stats().allocator;
  // What is a lie begins here: before, all is as it should be.
  Object.assign(own, lie(bus));
  const pauses = await memory.delete(ids), again = await memory.create(SIZES);
  for (const id of again) memory.check(id, PAGE_BYTES);
  const regrownBytes = bus.stats().allocator.carvedBytes - carvedBytes;
  return { findings, regrownBytes, ownMs: pauses.map(({ ownMs }) => ownMs) };
}

/** Plants each of them. */
export async function plantInMemory(): Promise<PlantedResult[]> {
  const clean = await work();
  const { findings: { wrongPages, wrongReuses }, regrownBytes } = clean;
  const isClean = wrongPages === 0 && wrongReuses === 0 && regrownBytes === 0;
  let births = 0, ticks = 0;
  const byte = await work((bus) => ({
    page: (id) => bus.page(id),
    tick: async () => {
      const report = await bus.tick();
      // Behind the ticks that delete comes the one that creates and writes.
      if (++ticks === PAGES / DEATHS_A_TICK + 1) live([...bus.pages()][7])[5] ^= 1;
      return report;
    },
  }));
  const dirty = await work((bus) => ({
    createPage: (options) => {
      const page = bus.createPage(options);
      return ++births === 9
        ? pretending(page, {
          readInto: (bytes: Uint8Array) => bytes.fill(1),
        })
        : page;
    },
  }));
  let last = 0;
  births = 0;
  const again = await work((bus) => ({
    createPage: (options) => {
      const page = bus.createPage(options);
      if (++births === 30) return pretending(page, { id: last });
      last = page.id;
      return page;
    },
  }));
  const leaked = await work((bus) => ({
    page: (id) => id % 4 === 0 ? pretending(bus.page(id), { delete: () => {} }) : bus.page(id),
  }));
  const slow = await work((bus) => ({
    tick: () => {
      const used = cpuUsage(), started = performance.now();
      for (let ms = 0; ms < PAUSE_MS;) {
        // Asking costs more than some work does.
        for (let i = 0; i < 100_000; i++) Math.imul(i, i);
        const { user, system } = cpuUsage(used);
        // Other threads of this process may have worked as well, or others have held this one up.
        ms = Math.min(performance.now() - started, (user + system) / 1000);
      }
      return bus.tick();
    },
  }));
  return [
    { id: "memory-byte", found: isClean && byte.findings.wrongPages === 1 },
    { id: "memory-slot-dirty", found: isClean && dirty.findings.wrongReuses === 1 },
    { id: "memory-id-again", found: isClean && again.findings.wrongReuses === 1 },
    { id: "memory-slot-leaked", found: isClean && leaked.regrownBytes > 0 },
    { id: "memory-pause", found: slow.ownMs.every((ms) => ms > PAUSE_MS_MAX) },
  ];
}

/** A page that says something else of itself. */
function pretending(page: Page, lies: Partial<Record<keyof Page, unknown>>): Page {
  const { id, size, epoch } = page;
  const readInto = (bytes: Uint8Array) => page.readInto(bytes);
  return { id, size, epoch, readInto, delete: () => page.delete(), ...lies } as unknown as Page;
}

function live(page: Page): Uint8Array {
  return page.view() as unknown as Uint8Array;
}
