/**
 * Tries, in a process of its own, whether bytes can be read before the promise of their mapping settles; a version of
 * Deno in which it ends the process, gives other bytes or none stays out of `EARLY_READ_VERSIONS`. It uses WebGPU alone,
 * so that it says something on the runtime and nothing on us:
 *
 * ```sh
 * npx -y deno@2.9.5 run -A --no-config --no-check src/physical/gpu/testdata/early_read.ts
 * ```
 *
 * Prints `early reads: ROUNDS of ROUNDS` and exits with 0 where all went well, and prints why not and exits with 1 where not.
 */

/** Reads that are tried, each of other bytes. */
const ROUNDS = 200;

/** Bytes of one read: enough that a copy that is not done yet would show. */
const BYTES = 262_144;

const SHADER = `
@group(0) @binding(0) var<storage, read_write> words: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  words[id.x] = words[id.x] * 1664525u + 1013904223u + id.x;
}`;

async function main(): Promise<string> {
  const adapter = await navigator.gpu.requestAdapter();
  if (adapter === null) return "no adapter";
  const device = await adapter.requestDevice();
  const words = device.createBuffer({
    size: BYTES,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
  });
  // Two, in turns: a read begins while the promise of the other one has not settled.
  const backs = [await mappedOnce(device), await mappedOnce(device)];
  const module = device.createShaderModule({ code: SHADER });
  const pipeline = device.createComputePipeline({ layout: "auto", compute: { module } });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [{ binding: 0, resource: { buffer: words } }],
  });
  const expected = new Uint32Array(BYTES / 4);
  let failure: string | undefined;
  const settled: Promise<unknown>[] = [];
  for (let round = 0; round < ROUNDS && failure === undefined; round++) {
    const back = backs[round % 3 === 0 ? 0 : 1];
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(BYTES / 256);
    pass.end();
    encoder.copyBufferToBuffer(words, 0, back, 0, BYTES);
    device.queue.submit([encoder.finish()]);
    for (let index = 0; index < expected.length; index++) {
      expected[index] = Math.imul(expected[index], 1664525) + 1013904223 + index;
    }
    settled.push(back.mapAsync(GPUMapMode.READ).catch(() => {}));
    const found = new Uint32Array(back.getMappedRange());
    if (found.some((word, index) => word !== expected[index])) {
      failure = `wrong bytes in read ${round}`;
    }
    back.unmap();
    // Now and then the promises settle in between, which must not disturb the next read.
    if (round % 50 === 49) await Promise.all(settled);
  }
  await Promise.all(settled);
  device.destroy();
  return failure ?? "";
}

async function mappedOnce(device: GPUDevice): Promise<GPUBuffer> {
  const buffer = device.createBuffer({
    size: BYTES,
    usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
  });
  await buffer.mapAsync(GPUMapMode.READ);
  buffer.unmap();
  return buffer;
}

const failure = await main().catch((error) => String(error));
console.log(failure === "" ? `early reads: ${ROUNDS} of ${ROUNDS}` : failure);
Deno.exit(failure === "" ? 0 : 1);
