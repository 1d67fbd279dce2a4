/** The dish beside the plainest simulation: arrays of doubles, and what a picture must show. */

import assert from "node:assert/strict";
import { MemoryStorage, StateBus } from "@mmsb/mmsb";
import { decode } from "fast-png";
import { testWithGpu } from "../src/physical/gpu/testdata/gpu_test.ts";
import { dishPicture } from "./_dish_picture.ts";
import { climateOf, differenceOf, Dish, floatsOf, grow, main } from "./reaction_diffusion.ts";

const SIZE = 40, STEPS = 30;

/** The model of Gray and Scott in doubles, on a dish without a rim, whose one drop falls for `held` steps. */
function simulate(size: number, steps: number, held: number) {
  const climate = climateOf(size);
  let eaten = new Float64Array(size * size), grown = new Float64Array(size * size);
  for (let step = 0; step < steps; step++) {
    const nextEaten = new Float64Array(size * size), nextGrown = new Float64Array(size * size);
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const at = (field: Float64Array, dx: number, dy: number) =>
          field[(y + dy + size) % size * size + (x + dx + size) % size];
        const spread = (field: Float64Array) =>
          at(field, 1, 0) + at(field, -1, 0) + at(field, 0, 1) + at(field, 0, -1) -
          4 * at(field, 0, 0);
        const e = at(eaten, 0, 0), g = at(grown, 0, 0), born = (1 - e) * g * g;
        const feed = climate[x], kill = climate[size + x] + climate[2 * size + y];
        const isDrop = step < held && (x - 5) ** 2 + (y - 9) ** 2 <= 9;
        const i = y * size + x;
        nextEaten[i] = isDrop ? 0.5 : e + 0.2097 * spread(eaten) + born - feed * e;
        nextGrown[i] = isDrop ? 0.25 : g + 0.105 * spread(grown) + born - (feed + kill) * g;
      }
    }
    [eaten, grown] = [nextEaten, nextGrown];
  }
  return { eaten, grown };
}

Deno.test("Dish grows as a simulation in doubles does, over all of its rim", async () => {
  await using bus = await StateBus.open({ storage: new MemoryStorage() });
  const dish = new Dish(bus, SIZE, STEPS);
  dish.drop(5, 9, 3);
  await dish.next();
  await dish.next();
  const { eaten, grown } = simulate(SIZE, 2 * STEPS, STEPS);
  const far = (a: Float32Array, b: Float64Array) => differenceOf(a, Float32Array.from(b));
  assert.ok(far(floatsOf(dish.eaten), eaten) < 1e-5, `${far(floatsOf(dish.eaten), eaten)}`);
  assert.ok(far(floatsOf(dish.grown), grown) < 1e-5, `${far(floatsOf(dish.grown), grown)}`);
  // It has spread over the left rim to the right one.
  assert.ok(grown[9 * SIZE + SIZE - 1] > 1e-3 && floatsOf(dish.grown)[9 * SIZE + SIZE - 1] > 1e-3);
  const explained = `${await bus.explain(dish.grown)}`;
  assert.match(explained, /reaction and diffusion/);
  assert.match(explained, /rain/);
});

testWithGpu("a dish on a GPU grows as its twin does", async () => {
  const [there, here] = [await grow("gpu", 48, 3, 20), await grow("cpu", 48, 3, 20)];
  assert.deepEqual([there.where, here.where], ["gpu", "cpu"]);
  assert.ok(here.grown.some((value) => value > 0.2), "something grows");
  for (const name of ["eaten", "grown"] as const) {
    const difference = differenceOf(there[name], here[name]);
    assert.ok(difference < 1e-5, `${name} differs by ${difference}`);
  }
});

Deno.test("dishPicture() is a PNG in which growth is brighter than bare ground", () => {
  const eaten = new Float32Array(16), grown = new Float32Array(16);
  grown[5] = 0.25;
  const { width, height, channels, data } = decode(dishPicture(eaten, grown, 4));
  assert.deepEqual([width, height, channels], [4, 4, 3]);
  const light = (cell: number) => data[3 * cell] + data[3 * cell + 1] + data[3 * cell + 2];
  assert.ok(light(5) > 3 * light(15) && light(15) > 0, `${light(5)} beside ${light(15)}`);
});

for (const device of ["cpu", "auto"] as const) {
  Deno.test(`reaction_diffusion.ts runs with --device ${device}, and draws what it has computed`, async () => {
    const out = await Deno.makeTempFile({ suffix: ".png" });
    try {
      const lines: string[] = [];
      const options = { cells: 1600, steps: 40, each: 20, device, check: true, out };
      assert.ok(await main(options, (line) => lines.push(line)), lines.join("\n"));
      const text = lines.join("\n");
      assert.match(text, /^World {5}1,600 cells, 40 × 40/m);
      assert.match(text, device === "cpu" ? /^Device {4}CPU, one thread: /m : /^Device {4}[CG]PU/m);
      assert.match(text, /^Speed .* steps a second/m);
      const { width, data } = decode(await Deno.readFile(out));
      assert.equal(width, 40);
      assert.ok(new Set(data).size > 30, "more than one colour");
    } finally {
      await Deno.remove(out);
    }
  });
}
