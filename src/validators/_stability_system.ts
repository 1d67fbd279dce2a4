/**
 * The system of validator 9, on a bus and as plain arrays: heat that spreads on a grid, and an oscillator at each
 * of its cells which the heat drives and which gives some of it back.
 *
 * The grid is cut into strips. Each strip has two rules: one for the heat, whose state is the field of the step
 * before, and one for the oscillators, whose state is their speed and which reads the new field. What a strip
 * needs of its neighbours, and what the oscillators give back, comes from the step before through source pages
 * that the program writes; so the rules stay acyclic, as they must. The plain arrays do the same sums in the same
 * order, so the bytes must be equal.
 *
 * Heat on a square grid in explicit steps is stable while the diffusion is at most 1/4 (Courant, Friedrichs and
 * Lewy, 1928); the oscillators step by the semi-implicit method of Euler, which keeps their energy bounded.
 */

import type { Page, StateBus } from "../bus/mod.ts";
import { defineRule, type Rule, type RuleOutput } from "../propagation/mod.ts";
import { openBus } from "./device_run.ts";

/** What the system is. */
export interface SystemPlan {
  /** Cells of a row. */
  readonly width: number;
  /** Rows of a strip. */
  readonly rows: number;
  /** Strips. */
  readonly strips: number;
  /** Share of the difference to its neighbours that a cell takes in a step. */
  readonly diffusion: number;
  /** Share of its heat that a cell loses. */
  readonly decay: number;
  /** How hard an oscillator is pulled back. */
  readonly stiffness: number;
  /** How much of its speed it loses. */
  readonly damping: number;
  /** How much heat drives it, and it gives back. */
  readonly coupling: number;
  /** Length of a step. */
  readonly step: number;
}

/** A system whose steps are stable. */
export const STABLE: SystemPlan = {
  width: 32,
  rows: 8,
  strips: 4,
  diffusion: 0.2,
  decay: 0.02,
  stiffness: 4,
  damping: 0.2,
  coupling: 0.05,
  step: 0.05,
};

/** Cells of a plan. */
export function cellsOf({ width, rows, strips }: SystemPlan): number {
  return width * rows * strips;
}

/** Heat that is put into the cells in a step. */
export type Drive = (step: number, heat: Float64Array) => void;

/** Heat of a strip: inputs are the rows beside it, what is given back, and what is put in. */
export const heatRule: Rule = defineRule({
  compute(ctx) {
    const { width, rows, diffusion, decay } = ctx.params as SystemPlan;
    const beside = ctx.input(0), back = ctx.input(1), drive = ctx.input(2);
    const before = ctx.state(0), after = ctx.output(0), last = 8 * width * (rows - 1);
    for (let at = 0; at < 8 * width * rows; at += 8) {
      const column = at / 8 % width, old = before.getFloat64(at);
      const up = at < 8 * width ? beside.getFloat64(at) : before.getFloat64(at - 8 * width);
      const down = at >= last
        ? beside.getFloat64(8 * width + at - last)
        : before.getFloat64(at + 8 * width);
      const left = before.getFloat64(column === 0 ? at + 8 * (width - 1) : at - 8);
      const right = before.getFloat64(column === width - 1 ? at - 8 * (width - 1) : at + 8);
      const spread = diffusion * (up + down + left + right - 4 * old);
      after.setFloat64(at, old + spread - decay * old + back.getFloat64(at) + drive.getFloat64(at));
    }
    copy(after, before, 8 * width * rows);
  },
});

/** Oscillators of a strip: the input is its heat. */
export const oscillatorRule: Rule = defineRule({
  compute(ctx) {
    const { width, rows, stiffness, damping, coupling, step } = ctx.params as SystemPlan;
    const heat = ctx.input(0), places = ctx.output(0), speeds = ctx.state(0);
    for (let at = 0; at < 8 * width * rows; at += 8) {
      const place = places.getFloat64(at), speed = speeds.getFloat64(at);
      const force = coupling * heat.getFloat64(at) - stiffness * place - damping * speed;
      const faster = speed + step * force;
      speeds.setFloat64(at, faster);
      places.setFloat64(at, place + step * faster);
    }
  },
});

function copy(from: RuleOutput, to: RuleOutput, bytes: number): void {
  for (let at = 0; at < bytes; at += 8) to.setFloat64(at, from.getFloat64(at));
}

/** The system on a bus. */
export class SystemOnBus {
  readonly #plan: SystemPlan;
  readonly #bus: StateBus;
  readonly #strips: readonly {
    readonly beside: Page;
    readonly back: Page;
    readonly drive: Page;
    readonly heat: Page;
    readonly places: Page;
  }[];
  /** Counts steps: without it a strip whose surroundings stay as they are would not go on. */
  readonly #clock: Page;
  #step = 0;

  private constructor(bus: StateBus, plan: SystemPlan) {
    this.#plan = plan;
    this.#bus = bus;
    this.#clock = bus.createPage({ size: 8 });
    const row = 8 * plan.width, strip = row * plan.rows;
    this.#strips = Array.from({ length: plan.strips }, () => ({
      beside: bus.createPage({ size: 2 * row }),
      back: bus.createPage({ size: strip }),
      drive: bus.createPage({ size: strip }),
      heat: bus.createPage({ size: strip }),
      places: bus.createPage({ size: strip }),
    }));
    this.#strips.forEach(({ beside, back, drive, heat, places }, index) => {
      const state = () => [bus.createPage({ size: strip })];
      const params = { ...plan };
      bus.rule(heatRule, {
        name: `heat ${index}`,
        inputs: [beside, back, drive, this.#clock],
        outputs: [heat],
        state: state(),
        params,
      });
      bus.rule(oscillatorRule, {
        name: `oscillators ${index}`,
        inputs: [heat, this.#clock],
        outputs: [places],
        state: state(),
        params,
      });
    });
  }

  /** Opens a bus in memory, all cells cold and at rest. */
  static async open(plan: SystemPlan): Promise<SystemOnBus> {
    const bus = await openBus({ memoryLimitBytes: 2 ** 24 });
    const system = new SystemOnBus(bus, plan);
    await bus.tick();
    return system;
  }

  /** Goes on by a step; gives heat and places of all cells. */
  async advance(drive: Drive): Promise<Float64Array> {
    const strips = this.#strips, { width, rows, coupling, step } = this.#plan;
    const cells = width * rows, put = new Float64Array(cells * strips.length);
    drive(this.#step++, put);
    this.#clock.write(0, new Uint8Array(Uint32Array.of(this.#step).buffer));
    strips.forEach((strip, index) => {
      const above = strips[(index + strips.length - 1) % strips.length].heat;
      const below = strips[(index + 1) % strips.length].heat;
      strip.beside.write(0, above.read(8 * width * (rows - 1), 8 * width));
      strip.beside.write(8 * width, below.read(0, 8 * width));
      const back = doublesOf(strip.places);
      for (let i = 0; i < cells; i++) back[i] = coupling * step * back[i];
      strip.back.write(0, new Uint8Array(back.buffer));
      const heat = put.subarray(cells * index, cells * (index + 1));
      strip.drive.write(0, new Uint8Array(heat.slice().buffer));
    });
    await this.#bus.tick();
    return this.values();
  }

  /** Heat and places of all cells. */
  values(): Float64Array {
    const strips = this.#strips, cells = this.#plan.width * this.#plan.rows;
    const values = new Float64Array(2 * cells * strips.length);
    strips.forEach(({ heat, places }, index) => {
      values.set(doublesOf(heat), cells * index);
      values.set(doublesOf(places), cells * (strips.length + index));
    });
    return values;
  }

  /** Closes the bus. */
  close(): Promise<void> {
    return this.#bus.close();
  }
}

function doublesOf(page: Page): Float64Array<ArrayBuffer> {
  return new Float64Array(page.read().buffer);
}

/** The same system as plain arrays. */
export class PlainSystem {
  /** Heat and places of all cells. */
  readonly values: Float64Array;
  readonly #plan: SystemPlan;
  readonly #speeds: Float64Array;
  #step = 0;

  constructor(plan: SystemPlan) {
    this.#plan = plan;
    this.values = new Float64Array(2 * cellsOf(plan));
    this.#speeds = new Float64Array(cellsOf(plan));
  }

  /** Goes on by a step. */
  advance(drive: Drive): Float64Array {
    const plan = this.#plan, { width, diffusion, decay, stiffness, damping, coupling, step } = plan;
    const cells = cellsOf(plan), { values } = this, put = new Float64Array(cells);
    drive(this.#step++, put);
    const old = values.slice(0, cells);
    for (let i = 0; i < cells; i++) {
      const column = i % width, place = values[cells + i];
      const around = old[(i + cells - width) % cells] + old[(i + width) % cells] +
        old[column === 0 ? i + width - 1 : i - 1] +
        old[column === width - 1 ? i - width + 1 : i + 1];
      const heat = old[i] + diffusion * (around - 4 * old[i]) - decay * old[i] +
        coupling * step * place + put[i];
      const force = coupling * heat - stiffness * place - damping * this.#speeds[i];
      values[i] = heat;
      this.#speeds[i] += step * force;
      values[cells + i] = place + step * this.#speeds[i];
    }
    return values;
  }
}
