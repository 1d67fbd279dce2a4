#!/usr/bin/env -S deno run -A
/**
 * Reaction and diffusion: a dish of 1,000,000 cells in which spots divide, worms grow and mazes close, on the GPU.
 *
 * What it shows: a rule in WGSL with its twin in TypeScript, pages that stay on the device from tick to tick, many steps in
 * one tick, how little has to go up for it, and a picture made from the pages.
 *
 * The model is that of Gray and Scott. There is food everywhere. What grows eats it, and it takes two that are there to make
 * one more; food comes in at the rate `feed`, growth goes away at the rate `feed + kill`, and both spread. All of the
 * picture follows from where drops fell, and from the two rates of each place.
 *
 * ```text
 *  clock    the frame ──────────────────────┐
 *  drops    for each cell the frame in      ├─► rule ─► eaten, grown     each tick: 20 steps of all cells,
 *           which a drop falls on it ───────┤     ▲          │           each from what the last one left
 *  climate  the two rates of each place ────┘     └──────────┘
 * ```
 *
 * ```sh
 * deno run -A examples/reaction_diffusion.ts                            # on a GPU if there is one; 2 minutes on a CPU
 * deno run -A examples/reaction_diffusion.ts --device gpu --check       # a GPU in software will do; the twin runs beside it
 * deno run -A examples/reaction_diffusion.ts --cells 4000000 --steps 20000 --out big.png
 * ```
 *
 * To try: another climate in `climateOf`, other colours in `_dish_picture.ts`, rain in every tick.
 */

import { defineRule, type Page, type Rule, type RuleHandle, StateBus } from "@mmsb/mmsb";
import { type Device, type DishOptions, dishOptions } from "./_dish_options.ts";
import { dishPicture } from "./_dish_picture.ts";

/** How fast food and growth spread: what goes to the four neighbours, less what stays, is taken times this. */
const SPREAD = { food: 0.2097, growth: 0.105 };
/** What a drop holds its cells at for its frame. */
const DROP = { eaten: 0.5, grown: 0.25 };
/** How far a float of the shader may be from the twin's, in floats between them: a compiler may join a product and a sum. */
const TOLERANCE_ULP = 64;

/**
 * One step of one cell. Pages are zero when they are made, and a fresh dish is full of food: so one page holds how much is
 * `eaten`. Of both pages it reads what the step before left (`previous`), since its neighbours write at the same time.
 */
const WGSL = /* wgsl */ `
fn around(x: u32, size: u32) -> vec2u {
  return vec2u(select(x - 1, size - 1, x == 0), select(x + 1, 0, x == size - 1));
}

@compute @workgroup_size(16, 8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let size = threads.x;
  if (id.x >= size || id.y >= size) { return; }
  // The dish has no rim: on the right it goes on at the left.
  let column = around(id.x, size);
  let row = around(id.y, size) * size;
  let here = id.y * size + id.x;
  let north = row.x + id.x;
  let south = row.y + id.x;
  let west = id.y * size + column.x;
  let east = id.y * size + column.y;

  let eaten = previous0[here];
  let grown = previous1[here];
  let food = 1 - eaten;
  let feed = input2[id.x];
  let kill = input2[size + id.x] + input2[2 * size + id.y];
  let born = food * grown * grown;
  let spreadEaten = ((previous0[north] + previous0[south]) + (previous0[west] + previous0[east])) - 4 * eaten;
  let spreadGrown = ((previous1[north] + previous1[south]) + (previous1[west] + previous1[east])) - 4 * grown;
  let isDrop = input1[here] == input0[0];
  let nextEaten = eaten + ((params.food * spreadEaten + born) - feed * eaten);
  let nextGrown = grown + ((params.growth * spreadGrown + born) - (feed + kill) * grown);
  output0[here] = select(nextEaten, ${DROP.eaten}, isDrop);
  output1[here] = select(nextGrown, ${DROP.grown}, isDrop);
}`;

/** The same in TypeScript: it runs where no GPU does, and says what the shader's bytes have to be. */
function stepTwin(size: number): Rule["compute"] {
  const cells = size * size, f = Math.fround;
  const [eaten, grown, nextEaten, nextGrown] = [1, 2, 3, 4].map(() => new Float32Array(cells));
  const drops = new Uint32Array(cells), climate = new Float32Array(3 * size);
  const bytes = (array: Float32Array | Uint32Array) => new Uint8Array(array.buffer);
  return (ctx) => {
    const frame = ctx.input(0).getUint32(0);
    const { food, growth } = ctx.params as typeof SPREAD;
    const spreadFood = f(food), spreadGrowth = f(growth);
    ctx.input(1).readInto(bytes(drops));
    ctx.input(2).readInto(bytes(climate));
    ctx.output(0).readInto(bytes(eaten));
    ctx.output(1).readInto(bytes(grown));
    for (let y = 0; y < size; y++) {
      const here = y * size, north = (y === 0 ? size - 1 : y - 1) * size;
      const south = (y === size - 1 ? 0 : y + 1) * size, shift = climate[2 * size + y];
      for (let x = 0; x < size; x++) {
        const west = here + (x === 0 ? size - 1 : x - 1),
          east = here + (x === size - 1 ? 0 : x + 1);
        const i = here + x, e = eaten[i], g = grown[i], feed = climate[x];
        const rate = f(feed + f(climate[size + x] + shift));
        const born = f(f(f(1 - e) * g) * g);
        const aroundE = f(
          f(eaten[north + x] + eaten[south + x]) + f(eaten[west] + eaten[east]),
        );
        const aroundG = f(
          f(grown[north + x] + grown[south + x]) + f(grown[west] + grown[east]),
        );
        const spreadE = f(spreadFood * f(aroundE - f(4 * e)));
        const spreadG = f(spreadGrowth * f(aroundG - f(4 * g)));
        const isDrop = drops[i] === frame;
        nextEaten[i] = isDrop ? DROP.eaten : f(e + f(f(spreadE + born) - f(feed * e)));
        nextGrown[i] = isDrop ? DROP.grown : f(g + f(f(spreadG + born) - f(rate * g)));
      }
    }
    ctx.output(0).set(0, bytes(nextEaten));
    ctx.output(1).set(0, bytes(nextGrown));
  };
}

/** The rule of a dish: `steps` of them in each tick; every so many ticks the twin computes one beside the device. */
export function dishRule(size: number, steps: number, checkEvery = 0): Rule {
  return defineRule({
    version: 1,
    wgsl: {
      code: WGSL,
      threads: [size, size],
      inputs: ["u32", "u32", "f32"],
      outputs: ["f32", "f32"],
      params: { food: "f32", growth: "f32" },
      tolerance: TOLERANCE_ULP,
      steps,
      checkEvery,
    },
    compute: stepTwin(size),
  });
}

/** Rates of food and growth: `feed` by column, then `kill` by column, then what is added to it by row. */
export function climateOf(size: number): Float32Array {
  const climate = new Float32Array(3 * size);
  for (let at = 0; at < size; at++) {
    // Back and forth, as the dish has no rim.
    const wave = 0.5 - 0.5 * Math.cos(2 * Math.PI * at / size);
    const feed = 0.026 + 0.026 * wave;
    climate[at] = feed;
    // Where a dish full of growth can just not stay so: patterns live on both sides of it.
    climate[size + at] = Math.sqrt(feed) / 2 - feed;
    climate[2 * size + at] = -0.0008 + 0.0032 * wave;
  }
  return climate;
}

/** A dish on a bus. */
export class Dish {
  readonly bus: StateBus;
  /** Cells along a side. */
  readonly size: number;
  /** How much of the food of each cell is eaten. */
  readonly eaten: Page;
  /** What grows in each cell. */
  readonly grown: Page;
  /** What computes it: says where. */
  readonly rule: RuleHandle;
  readonly #clock: Page;
  readonly #drops: Page;
  #frame = 0;

  /** Makes a dish; the tick that follows makes it real. */
  constructor(bus: StateBus, size: number, steps: number, checkEvery = 0) {
    this.bus = bus;
    this.size = size;
    const bytes = 4 * size * size;
    this.#clock = bus.createPage({ size: 4, name: "clock" });
    this.#drops = bus.createPage({ size: bytes, name: "drops" });
    const climate = bus.createPage({ size: 12 * size, name: "climate" });
    this.eaten = bus.createPage({ size: bytes, name: "eaten" });
    this.grown = bus.createPage({ size: bytes, name: "grown" });
    climate.write(0, new Uint8Array(climateOf(size).buffer), { source: "dish", intent: "climate" });
    this.rule = bus.rule(dishRule(size, steps, checkEvery), {
      name: "reaction and diffusion",
      inputs: [this.#clock, this.#drops, climate],
      outputs: [this.eaten, this.grown],
      params: SPREAD,
    });
  }

  /** Stages a drop that falls in the next frame. */
  drop(x: number, y: number, radius: number): void {
    const { size } = this;
    for (let dy = -radius; dy <= radius; dy++) {
      const half = Math.floor(Math.sqrt(radius * radius - dy * dy));
      const first = Math.max(0, x - half), end = Math.min(size, x + half + 1);
      if (y + dy < 0 || y + dy >= size || first >= end) continue;
      const row = new Uint32Array(end - first).fill(this.#frame + 1);
      this.#drops.write(4 * ((y + dy) * size + first), new Uint8Array(row.buffer), {
        source: "rain",
        intent: `a drop at ${x}, ${y}`,
      });
    }
  }

  /** Stages some drops at places that look random and are the same in each run. */
  rain(drops: number, seed = 1): void {
    let state = seed;
    const below = (end: number) => {
      state = Math.imul(state, 1664525) + 1013904223 | 0;
      return Math.floor(end * (state >>> 0) / 2 ** 32);
    };
    for (let i = 0; i < drops; i++) this.drop(below(this.size), below(this.size), 2 + below(5));
  }

  /** Computes the next frame: all steps of a tick. */
  async next(): Promise<void> {
    const frame = Uint32Array.of(++this.#frame);
    await this.bus.commit(() =>
      this.#clock.write(0, new Uint8Array(frame.buffer), { source: "clock" })
    );
  }
}

/** The values of a page. */
export function floatsOf(page: Page): Float32Array {
  return new Float32Array(page.read().buffer);
}

/** A fresh dish on a bus of its own, after some frames. */
export async function grow(
  device: Device,
  size: number,
  frames: number,
  steps: number,
): Promise<{ eaten: Float32Array; grown: Float32Array; where: string }> {
  await using bus = await StateBus.open({ device });
  const dish = new Dish(bus, size, steps, 1);
  dish.rain(Math.ceil(size * size / 400));
  for (let frame = 0; frame < frames; frame++) await dish.next();
  return { eaten: floatsOf(dish.eaten), grown: floatsOf(dish.grown), where: dish.rule.device.on };
}

/** The largest difference between two pages. */
export function differenceOf(a: Float32Array, b: Float32Array): number {
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
}

const show = (value: number) => value.toLocaleString("en", { maximumSignificantDigits: 3 });
const whole = (value: number) => Math.round(value).toLocaleString("en");

/** After as many steps as this compares, what two machines round otherwise has not grown to more than this. */
const SMALL = { size: 96, frames: 4, steps: 25, differenceMax: 1e-4 };

/** Grows the same small dish on both, step by step beside the twin; gives whether they agree. */
async function compare(print: (line: string) => void): Promise<boolean> {
  const { size, frames, steps, differenceMax } = SMALL;
  const there = await grow("gpu", size, frames, steps),
    here = await grow("cpu", size, frames, steps);
  const difference = Math.max(
    differenceOf(there.eaten, here.eaten),
    differenceOf(there.grown, here.grown),
  );
  const isRight = there.where === "gpu" && difference <= differenceMax;
  print(
    `Agree     ${isRight ? "✓" : "✗"} ${size} × ${size} cells after ${frames * steps} steps: ` +
      `GPU and CPU differ by ${difference.toExponential(1)} at most (allowed ${differenceMax})`,
  );
  return isRight;
}

/** Runs what is left of the frames; gives the seconds that they took. */
async function run(dish: Dish, frames: number, each: number, print: (line: string) => void) {
  const started = performance.now(), elapsed = () => (performance.now() - started) / 1000;
  for (let frame = 2; frame <= frames; frame++) {
    await dish.next();
    if (frame % Math.ceil(frames / 10) !== 0) continue;
    const rate = each * (frame - 1) / elapsed();
    print(
      `          ${whole(each * frame)} of ${whole(each * frames)} steps, ${show(rate)} a second`,
    );
  }
  return elapsed();
}

/** What went up to the device of a bus so far, what came back, and ticks that ran there. */
function trafficOf(bus: StateBus) {
  const { uploadedBytes = 0, readBytes = 0, rules } = bus.stats().device ?? {};
  return {
    up: uploadedBytes + (rules?.uploadedBytes ?? 0),
    back: readBytes + (rules?.readBytes ?? 0),
    ticks: rules?.runs ?? 0,
    checks: rules?.checks ?? 0,
  };
}

/** Where the dish is computed, in words. */
function whereOf(dish: Dish): string {
  const { on, reason } = dish.rule.device, adapter = dish.bus.opened.device?.adapter;
  if (on === "cpu") return `CPU, one thread: ${reason}`;
  return `GPU: ${adapter?.name}${adapter?.isSoftware ? ", which is software on the CPU" : ""}`;
}

/** The program. Gives whether all that was checked is right. */
export async function main(
  options: DishOptions,
  print: (line: string) => void = console.log,
): Promise<boolean> {
  const { device, out, check, each } = options;
  const size = Math.round(Math.sqrt(options.cells)), cells = size * size;
  const frames = Math.ceil(options.steps / each), steps = frames * each;
  await using bus = await StateBus.open({ device, memoryLimitBytes: 64 * cells + 2 ** 26 });
  const dish = new Dish(bus, size, each, check ? 1 : 0);
  dish.rain(Math.ceil(cells / 1200));
  // The first tick brings all pages there, compiles, and checks a step.
  await dish.next();
  print(`World     ${whole(cells)} cells, ${size} × ${size}, two floats each`);
  print(`Device    ${whereOf(dish)}`);
  const isThere = dish.rule.device.on === "gpu", before = trafficOf(bus);
  let isRight = isThere ? await compare(print) : true;

  const seconds = await run(dish, frames, each, print), ticks = frames - 1;
  if (ticks > 0) {
    const perSecond = each * ticks / seconds;
    print(
      `Speed     ${show(perSecond)} steps a second, ${
        show(perSecond * cells / 1e6)
      } million cells; ` +
        `a tick of ${each} steps took ${show(1000 * seconds / ticks)} ms`,
    );
  }
  const after = trafficOf(bus), there = after.ticks - before.ticks;
  if (there > 0) {
    const [up, back] = [(after.up - before.up) / there, (after.back - before.back) / there];
    print(`Bytes     ${whole(up)} went up and ${whole(back)} came back a tick`);
  }
  if (isThere && there < ticks) {
    print(`Left      ${ticks - there} of ${ticks} ticks ran on the ${whereOf(dish)}`);
  }
  if (check && !isThere) print("Checked   nothing: the twin itself computed all of it");
  if (isThere && check) {
    print(
      `Checked   ${after.checks} of ${after.ticks} ticks on the GPU beside the twin, which agreed`,
    );
    isRight &&= after.checks === after.ticks;
  }
  await Deno.writeFile(out, dishPicture(floatsOf(dish.eaten), floatsOf(dish.grown), size));
  print(`Picture   ${await Deno.realPath(out)}, ${size} × ${size} after ${whole(steps)} steps`);
  return isRight;
}

if (import.meta.main) {
  if (!await main(dishOptions(Deno.args))) Deno.exit(1);
}
