/** The game world beside the plainest simulation: arrays, and every pair looked at. */

import assert from "node:assert/strict";
import { StateBus } from "@mmsb/mmsb";
import { main, sideOf, startOf, World } from "./game_world.ts";

/** The same world without a bus: positions after some frames, and pairs that collided. */
function simulate(entities: number, frames: number) {
  const side = sideOf(entities), { x0: x, y0: y, vx, vy } = startOf(entities, side, 1);
  let pairs = 0;
  const bounce = () => {
    for (let i = 0; i < entities; i++) {
      for (let j = i + 1; j < entities; j++) {
        const dx = x[j] - x[i], dy = y[j] - y[i], distance2 = dx * dx + dy * dy;
        if (distance2 >= 4 || distance2 === 0) continue;
        const approach = dx * (vx[i] - vx[j]) + dy * (vy[i] - vy[j]);
        if (approach <= 0) continue;
        pairs++;
        const swapX = approach * dx / distance2, swapY = approach * dy / distance2;
        vx[i] -= swapX, vy[i] -= swapY, vx[j] += swapX, vy[j] += swapY;
      }
    }
    for (let i = 0; i < entities; i++) {
      if (x[i] === 0 && vx[i] < 0 || x[i] === side && vx[i] > 0) vx[i] *= -1;
      if (y[i] === 0 && vy[i] < 0 || y[i] === side && vy[i] > 0) vy[i] *= -1;
    }
  };
  for (let frame = 0; frame < frames; frame++) {
    bounce();
    for (let i = 0; i < entities; i++) {
      x[i] = Math.min(side, Math.max(0, x[i] + vx[i] / 60));
      y[i] = Math.min(side, Math.max(0, y[i] + vy[i] / 60));
    }
  }
  return { x, y, pairs };
}

Deno.test("World moves every entity as a simulation in arrays does, to the last bit", async () => {
  const entities = 300, frames = 120;
  await using bus = await StateBus.open();
  const world = new World(bus, entities);
  await bus.tick();
  let pairs = 0;
  for (let frame = 1; frame <= frames; frame++) {
    pairs += world.pairs;
    world.step(frame);
    await bus.tick();
  }
  const { x, y, pairs: wanted } = simulate(entities, frames);
  const positions = new Float32Array(world.positions.read().buffer, 8);
  for (let i = 0; i < entities; i++) {
    assert.deepEqual([positions[2 * i], positions[2 * i + 1]], [x[i], y[i]], `entity ${i}`);
  }
  assert.equal(pairs, wanted);
  assert.ok(pairs > 20, `${pairs} collisions are enough to tell`);
  assert.equal((await bus.tick()).fired, 0);
});

Deno.test("game_world.ts runs, and finds its world right", async () => {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-world-" });
  try {
    const lines: string[] = [];
    const isRight = await main(
      { dir, entities: 400, seconds: 0.25, rate: 200 },
      (line) => lines.push(line),
    );
    const text = lines.join("\n");
    assert.ok(isRight, text);
    assert.equal(text.match(/^✓/gm)?.length, 5, text);
    assert.match(text, /^Ticks {5}50 of 400 moves each, /m);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
