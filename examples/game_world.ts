#!/usr/bin/env -S deno run -A
/**
 * A game world: 10,000 entities that move and bump into each other, 60 ticks a second.
 *
 * What it shows: a table as the input of rules, rules that feed one another inside a tick, a loop that is
 * closed from one tick to the next, `bus.run`, invariants, and a world that comes back from its log.
 *
 * ```text
 *  clock ─────┐                ┌─► collisions ──┐       In one tick, from left to right. The game loop
 *             ├─► positions ───┤                │       reads what collided and writes new velocities
 *  entities ──┘                └─► zones        │       in the next tick: the graph has no cycles,
 *     ▲                                         │       time has.
 *     └───────────── game loop ◄────────────────┘
 * ```
 *
 * ```sh
 * deno run -A examples/game_world.ts                               # 3 seconds, into ./data/world
 * deno run -A examples/game_world.ts --entities 1000 --seconds 10
 * deno task mmsb log query data/world --source physics --limit 5   # who was pushed, and by whom
 * ```
 *
 * To try: wind in `moveRule`, heavy entities in `collideRule`, a step of 1/30 s.
 */

import {
  defineRule,
  type Page,
  type Rule,
  type RuleInput,
  StateBus,
  struct,
  table,
} from "@mmsb/mmsb";
import { flagsOf } from "./_flags.ts";
import { removeOldRun } from "./_fresh_directory.ts";

const Clock = struct({ frame: "u32" });
/** Where an entity begins, and how fast it moves. */
const Entity = table({ x0: "f32", y0: "f32", vx: "f32", vy: "f32" });

/** Seconds a frame; an entity's radius; zones along a side. */
const STEP = 1 / 60, RADIUS = 1, ZONES = 10;
/** Bytes in front of positions (frame, entities) and of collisions (entities, pairs). */
const HEAD = 8;
/** What an entity at the wall collided with. */
const WALL = -1;

/** Side of the square world: the same room for each entity, however many there are. */
export const sideOf = (entities: number): number => 20 * Math.ceil(Math.sqrt(entities));

/** A column of a table that a rule reads, in one piece. */
function column(table: RuleInput["table"], name: string): Float32Array {
  const all = new Float32Array(table.length);
  let row = 0;
  for (const chunk of table.chunks(name) as readonly Float32Array[]) {
    all.set(chunk, row);
    row += chunk.length;
  }
  return all;
}

/** Clock and velocities → positions: one step a frame, on from where the output stands. */
function moveRule(side: number): Rule {
  const inside = (at: number) => Math.min(side, Math.max(0, at));
  return defineRule({
    compute(ctx) {
      const frame = ctx.input(0).getUint32(0), entities = ctx.input(1).table;
      const positions = ctx.output(0), known = positions.getUint32(4);
      const seconds = STEP * (frame - positions.getUint32(0));
      // Nothing to do twice: a rule must give the same whenever it is run.
      if (seconds === 0 && known === entities.length) return;
      const [x0, y0, vx, vy] = ["x0", "y0", "vx", "vy"].map((name) => column(entities, name));
      // From the first byte upwards, which is quickest.
      positions.setUint32(0, frame);
      positions.setUint32(4, entities.length);
      for (let i = 0, at = HEAD; i < entities.length; i++, at += 8) {
        const x = i < known ? positions.getFloat32(at) + seconds * vx[i] : x0[i];
        const y = i < known ? positions.getFloat32(at + 4) + seconds * vy[i] : y0[i];
        positions.setFloat32(at, inside(x));
        positions.setFloat32(at + 4, inside(y));
      }
    },
  });
}

/** Pairs that touch, by a grid whose cells are as wide as an entity has room; in order of i, then j. */
function touching(x: Float32Array, y: Float32Array, side: number): [number, number][] {
  const cells = Math.floor(side / 20), width = side / cells;
  const cellOf = (at: number) => Math.min(cells - 1, Math.floor(at / width));
  const first = new Int32Array(cells * cells).fill(-1), next = new Int32Array(x.length);
  const pairs: [number, number][] = [];
  for (let j = 0; j < x.length; j++) {
    const cx = cellOf(x[j]), cy = cellOf(y[j]);
    for (let row = Math.max(0, cy - 1); row <= Math.min(cells - 1, cy + 1); row++) {
      for (let col = Math.max(0, cx - 1); col <= Math.min(cells - 1, cx + 1); col++) {
        for (let i = first[row * cells + col]; i >= 0; i = next[i]) {
          if ((x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2 < 4 * RADIUS ** 2) pairs.push([i, j]);
        }
      }
    }
    next[j] = first[cy * cells + cx];
    first[cy * cells + cx] = j;
  }
  return pairs.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
}

/** Positions and velocities → the entities that bounced: number, with whom, new velocity. */
function collideRule(side: number): Rule {
  return defineRule({
    compute(ctx) {
      const entities = ctx.input(1).table, positions = ctx.input(0);
      const x = new Float32Array(entities.length), y = new Float32Array(entities.length);
      for (let i = 0; i < x.length; i++) {
        x[i] = positions.getFloat32(HEAD + 8 * i);
        y[i] = positions.getFloat32(HEAD + 8 * i + 4);
      }
      const vx = column(entities, "vx"), vy = column(entities, "vy");
      const bounced = new Map<number, number>();
      let pairs = 0;
      for (const [i, j] of touching(x, y, side)) {
        const dx = x[j] - x[i], dy = y[j] - y[i], distance2 = dx * dx + dy * dy;
        const approach = dx * (vx[i] - vx[j]) + dy * (vy[i] - vy[j]);
        if (approach <= 0 || distance2 === 0) continue;
        // Equal masses, elastic: they swap what of their speeds is along the line between them.
        const swapX = approach * dx / distance2, swapY = approach * dy / distance2;
        vx[i] -= swapX, vy[i] -= swapY, vx[j] += swapX, vy[j] += swapY;
        bounced.set(i, j).set(j, i);
        pairs++;
      }
      for (let i = 0; i < x.length; i++) {
        const isOutX = x[i] === 0 && vx[i] < 0 || x[i] === side && vx[i] > 0;
        const isOutY = y[i] === 0 && vy[i] < 0 || y[i] === side && vy[i] > 0;
        if (isOutX) vx[i] = -vx[i];
        if (isOutY) vy[i] = -vy[i];
        if (isOutX || isOutY) bounced.set(i, WALL);
      }
      const collisions = ctx.output(0);
      collisions.setUint32(0, bounced.size);
      collisions.setUint32(4, pairs);
      let at = HEAD;
      for (const [entity, other] of bounced) {
        collisions.setInt32(at, entity);
        collisions.setInt32(at + 4, other);
        collisions.setFloat32(at + 8, vx[entity]);
        collisions.setFloat32(at + 12, vy[entity]);
        at += 16;
      }
    },
  });
}

/** Positions → entities in each zone of the world. */
function zonesRule(side: number): Rule {
  const counts = new Uint32Array(ZONES * ZONES);
  const zoneOf = (at: number) => Math.min(ZONES - 1, Math.floor(ZONES * at / side));
  return defineRule({
    compute(ctx) {
      counts.fill(0);
      const positions = ctx.input(0), entities = positions.getUint32(4);
      for (let at = HEAD; at < HEAD + 8 * entities; at += 8) {
        const row = zoneOf(positions.getFloat32(at + 4));
        counts[ZONES * row + zoneOf(positions.getFloat32(at))]++;
      }
      counts.forEach((count, zone) => ctx.output(0).setUint32(4 * zone, count));
    },
  });
}

/** A world on a bus: made there with its entities, or found and bound again. */
export class World {
  readonly bus: StateBus;
  readonly side: number;
  readonly positions: Page;
  readonly collisions: Page;
  readonly zones: Page;
  readonly #clock;
  readonly #entities;

  /** Makes a world; the tick that follows makes it real. Same entities and seed, same world. */
  constructor(bus: StateBus, entities: number, seed = 1) {
    this.bus = bus;
    this.side = sideOf(entities);
    this.#clock = bus.create(Clock, { name: "clock" });
    this.#entities = bus.createTable(Entity, { name: "entities" });
    this.positions = bus.createPage({ size: HEAD + 8 * entities, name: "positions" });
    this.collisions = bus.createPage({ size: HEAD + 16 * entities, name: "collisions" });
    this.zones = bus.createPage({ size: 4 * ZONES * ZONES, name: "zones" });
    this.#entities.append(startOf(entities, this.side, seed), { source: "world", intent: "begin" });
    const { side, positions } = this;
    const bind = (rule: Rule, output: Page, inputs: Parameters<StateBus["rule"]>[1]["inputs"]) =>
      bus.rule(rule, { name: output.name, inputs, outputs: [output], params: { side } });
    bind(moveRule(side), positions, [this.#clock, this.#entities]);
    bind(collideRule(side), this.collisions, [positions, this.#entities]);
    bind(zonesRule(side), this.zones, [positions]);
    bus.invariant("every entity is in one zone", () => {
      const counted = numbers(this.zones).reduce((sum, count) => sum + count, 0);
      return counted === entities || `${counted} of ${entities} are`;
    });
  }

  /** What the game loop does between two ticks: it stages the velocities after all bounces, and the next frame. */
  step(frame: number): void {
    const bytes = this.collisions.read(), view = new DataView(bytes.buffer);
    for (let at = HEAD; at < HEAD + 16 * view.getUint32(0, true); at += 16) {
      const other = view.getInt32(at + 4, true);
      this.#entities.set(view.getInt32(at, true), {
        vx: view.getFloat32(at + 8, true),
        vy: view.getFloat32(at + 12, true),
      }, { source: "physics", intent: other === WALL ? "wall" : `hit ${other}` });
    }
    this.#clock.set({ frame }, { source: "loop" });
  }

  /** Pairs that collided in the last tick. */
  get pairs(): number {
    return numbers(this.collisions)[1];
  }

  /** Twice the energy of all movement, for a mass of 1. */
  get energy(): number {
    let sum = 0;
    for (const name of ["vx", "vy"] as const) {
      for (const chunk of this.#entities.column(name)) for (const v of chunk) sum += v * v;
    }
    return sum;
  }
}

function numbers(page: Page): Uint32Array {
  return new Uint32Array(page.read().buffer);
}

/** Entities at places and with speeds that look random and are the same in every run. */
export function startOf(entities: number, side: number, seed: number): Record<
  "x0" | "y0" | "vx" | "vy",
  Float32Array
> {
  let state = seed;
  const random = (from: number, to: number) =>
    Float32Array.from({ length: entities }, () => {
      state = Math.imul(state, 1664525) + 1013904223 | 0;
      return from + (to - from) * (state >>> 0) / 2 ** 32;
    });
  return { x0: random(0, side), y0: random(0, side), vx: random(-60, 60), vy: random(-60, 60) };
}

const show = (value: number) => value.toLocaleString("en", { maximumFractionDigits: 2 });

/** The program. Gives whether all that was checked is right. */
export async function main(
  options: { dir: string; entities: number; seconds: number; rate?: number },
  print: (line: string) => void = console.log,
): Promise<boolean> {
  const { dir, entities, seconds, rate = 60 } = options;
  await removeOldRun(dir);
  const tickMs: number[] = [];
  let frame = 0, pairs = 0, digest = "", last = new Uint8Array(), energy = 0, energyAtEnd = 0;
  const check = (isRight: boolean, what: string) => {
    print(`${isRight ? "✓" : "✗"} ${what}`);
    return isRight;
  };
  {
    await using bus = await StateBus.open({ dir });
    const world = new World(bus, entities);
    await bus.tick();
    energy = world.energy;
    print(`World     ${show(entities)} entities on ${world.side} × ${world.side}, in ${dir}`);
    world.step(++frame);
    const run = bus.run({
      intervalMs: 1000 / rate,
      onTick({ phasesMs: { maintain: _, ...phases } }) {
        tickMs.push(Object.values(phases).reduce((sum, ms) => sum + ms));
        pairs += world.pairs;
        if (frame % rate === 0) {
          print(`          second ${frame / rate}: ${show(pairs)} collisions so far`);
        }
        if (frame === Math.round(seconds * rate)) void bus.stop();
        else world.step(++frame);
      },
      onError(error) {
        print(`${error}`);
        void bus.stop();
      },
    });
    const { ticks, skipped } = await run.done;
    tickMs.sort((a, b) => a - b);
    const at = (share: number) => show(tickMs[Math.floor(share * (tickMs.length - 1))]);
    print(
      `Ticks     ${ticks} of ${show(entities)} moves each, ${skipped} left out for want of time; ` +
        `a tick took ${at(0.5)} ms (p50), ${at(0.99)} ms (p99) of ${show(1000 / rate)} ms`,
    );
    print(
      `Zones     from ${Math.min(...numbers(world.zones))} to ${
        Math.max(...numbers(world.zones))
      } entities each`,
    );
    energyAtEnd = world.energy;
    last = world.positions.read();
    digest = bus.digest();
  }

  // The world from its log, and the same world again without clock and log.
  await using again = await StateBus.open({ dir, readOnly: true });
  await using memory = await StateBus.open();
  const other = new World(memory, entities);
  await memory.tick();
  for (let f = 1; f <= frame; f++) {
    other.step(f);
    await memory.tick();
  }
  const place = new Float32Array(last.buffer, HEAD), side = sideOf(entities);
  const { ok, rows } = await again.verify();
  return [
    check(place.length === 2 * entities, `All ${show(entities)} entities are there`),
    check(place.every((at) => at >= 0 && at <= side), "None is outside of the world"),
    check(
      Math.abs(energyAtEnd / energy - 1) < 1e-4,
      `Energy was kept: ${show(energy)} before, ${show(energyAtEnd)} after`,
    ),
    check(ok && again.digest() === digest, `The log's ${show(rows)} deltas give the same world`),
    check(
      String(last) === String(other.positions.read()),
      `A second world with the same seed is the same after ${frame} frames`,
    ),
  ].every((isRight) => isRight);
}

if (import.meta.main) {
  const flags = flagsOf("game_world.ts", "./data/world", {
    entities: { help: "entities", value: 10_000, min: 1, max: 100_000, isWhole: true },
    seconds: { help: "how long the world runs", value: 3, min: 0.1, max: 60 },
  });
  if (!await main(flags)) Deno.exit(1);
}
