/**
 * Rules from a module, as workers load them, for tests.
 */

import { defineRule } from "../../propagation/rule.ts";

/** Adds up the first numbers of its inputs, and a parameter. */
export const sum = defineRule({
  version: 1,
  compute(ctx) {
    const { inputs, plus } = ctx.params as { inputs: number; plus: number };
    let total = plus;
    for (let i = 0; i < inputs; i++) total += ctx.input(i).getFloat64(0);
    ctx.output(0).setFloat64(0, total);
  },
});

/** Mixes words in any order, from both ends of its output, over two outputs and its state. */
export const mix = defineRule({
  version: 2,
  compute(ctx) {
    const from = ctx.input(0), to = ctx.output(0), also = ctx.output(1), state = ctx.state(0);
    let seed = state.getInt32(0) ^ ctx.tick;
    for (let i = 0; i < 8; i++) {
      seed = Math.imul(seed ^ from.getInt32(4 * (i & 3)), 0x9e3779b1) + i | 0;
      to.setInt32(4 * (7 - i), seed & 3 ? seed : to.getInt32(4 * (7 - i)));
      also.setUint8(i * 3, seed);
      if ((seed & 12) === 0) to.setInt32(4 * (7 - i), 0);
    }
    also.set(24, from.readInto(new Uint8Array(8)));
    state.setInt32(0, state.getInt32(0) + 1);
  },
});

/** Counts, from changes alone, by how much the words of its input have grown. */
export const growth = defineRule({
  version: 3,
  compute(ctx) {
    let total = 0;
    for (let at = 0; at + 4 <= ctx.input(0).byteLength; at += 4) {
      total = total + ctx.input(0).getInt32(at) | 0;
    }
    ctx.output(0).setInt32(0, total);
  },
  fromDeltas(ctx, changes) {
    let total = ctx.output(0).getInt32(0);
    while (changes.next()) {
      const before = changes.before(changes.input), now = ctx.input(changes.input);
      for (let at = changes.offset; at < changes.offset + changes.length; at += 4) {
        total = total + now.getInt32(at) - before.getInt32(at) | 0;
      }
    }
    ctx.output(0).setInt32(0, total);
  },
});

/** Does what its input's first word says: 1 throws, 2 never ends, 3 writes outside, 4 does so after 30 ms; else copies it. */
export const moody = defineRule({
  version: 1,
  compute(ctx) {
    const mood = ctx.input(0).getInt32(0), out = ctx.output(0);
    out.setInt32(0, mood);
    out.setInt32(8, 77);
    if (mood === 1) throw new RangeError("a bad mood");
    // Not each time, or there is no room for the old words before the time is over.
    for (let i = 0; mood === 2; i++) if (i % 1000 === 0) out.setInt32(4, i);
    if (mood === 3) out.setInt32(1 << 20, 1);
    if (mood === 4) {
      const until = performance.now() + 30;
      while (performance.now() < until);
      out.setInt32(1 << 20, 1);
    }
  },
});

/** Halves the words of its input: small changes change nothing. */
export const shade = defineRule({
  version: 2,
  wgsl: {
    code: `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
      if (id.x < threads.x) { output0[id.x] = input0[id.x] >> 4; }
    }`,
    threads: 8,
  },
  compute(ctx) {
    for (let at = 0; at < 32; at += 4) {
      ctx.output(0).setUint32(at, ctx.input(0).getUint32(at) >>> 4);
    }
  },
});

/** Has a shader, and a twin that never ends where the first word of its input is 2. */
export const endless = defineRule({
  version: 1,
  wgsl: {
    code: `@compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) {
      output0[id.x] = input0[id.x] + 1u;
    }`,
    threads: 8,
  },
  compute(ctx) {
    do {
      for (let at = 0; at < 32; at += 4) {
        ctx.output(0).setUint32(at, ctx.input(0).getUint32(at) + 1);
      }
    } while (ctx.input(0).getUint32(0) === 2);
  },
});

export default sum;
