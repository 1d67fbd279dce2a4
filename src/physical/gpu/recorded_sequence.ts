/**
 * Recorded sequence: commands for the device that are put together once and replayed tick after tick.
 *
 * WebGPU has no command buffer that can be submitted twice, but what is dear about one (checking pipelines, layouts and
 * bindings, making bind groups) needs to be done once as long as the buffers stay the same. A sequence is a list of dispatches,
 * copies and clears with their bind groups; encoding it is a walk over the list. Where two buffers take turns (the state
 * before a step and the state behind it), both bind groups are made, and each step takes the one whose turn it is.
 *
 * Cost: recording some 20 µs a dispatch; replaying some 1 to 2 µs a command.
 */

import { assert, checkInteger, MmsbError } from "../../base/mod.ts";
import type { GpuDevice } from "./gpu_device.ts";

/** Bytes of a buffer. */
export interface BufferPart {
  /** The buffer. */
  readonly buffer: GPUBuffer;
  /** Its first byte; 0 if left out. */
  readonly offset?: number;
  /** How many. */
  readonly bytes: number;
}

/** Two parts that take turns: steps 0, 2, 4 … have the first, steps 1, 3, 5 … the second. */
export type Turns = readonly [even: BufferPart, odd: BufferPart];

/** Runs a kernel. */
export interface DispatchCommand {
  /** Always `dispatch`. */
  readonly kind: "dispatch";
  /** The kernel. */
  readonly pipeline: GPUComputePipeline;
  /** Layout of group 0; that of the pipeline if left out. */
  readonly layout?: GPUBindGroupLayout;
  /** What is bound in group 0: binding 0, 1, …. */
  readonly bindings: readonly (BufferPart | Turns)[];
  /** Workgroups in x, y and z. */
  readonly groups: readonly [x: number, y?: number, z?: number];
}

/** Copies bytes from one buffer to another. */
export interface CopyCommand {
  /** Always `copy`. */
  readonly kind: "copy";
  /** Where they are. */
  readonly source: BufferPart | Turns;
  /** Where they go, in another buffer; as many. */
  readonly target: BufferPart | Turns;
}

/** Fills bytes with zeros. */
export interface ClearCommand {
  /** Always `clear`. */
  readonly kind: "clear";
  /** Which. */
  readonly target: BufferPart | Turns;
}

/** What a sequence is made of. */
export type SequenceCommand = DispatchCommand | CopyCommand | ClearCommand;

/** A command as it is replayed; of each pair the steps take one in turn. */
interface Dispatch {
  readonly kind: "dispatch";
  readonly pipeline: GPUComputePipeline;
  readonly turns: readonly [GPUBindGroup, GPUBindGroup];
  readonly groups: readonly [number, number, number];
}
interface Copy {
  readonly kind: "copy";
  readonly source: Turns;
  readonly target: Turns;
}
interface Clear {
  readonly kind: "clear";
  readonly target: Turns;
}

/** Commands that are replayed. */
export class RecordedSequence {
  /** All buffers that it uses, each once, in the order in which the commands name them. */
  readonly buffers: readonly GPUBuffer[];
  /** Commands of one step. */
  readonly length: number;
  readonly #device: GpuDevice;
  readonly #commands: readonly (Dispatch | Copy | Clear)[];

  private constructor(
    device: GpuDevice,
    commands: readonly (Dispatch | Copy | Clear)[],
    buffers: readonly GPUBuffer[],
  ) {
    this.#device = device;
    this.#commands = commands;
    this.length = commands.length;
    this.buffers = buffers;
  }

  /**
   * Checks commands and makes their bind groups.
   *
   * @param device The device of pipelines and buffers.
   * @param commands One step.
   * @param label What it is, for messages.
   * @returns The sequence.
   * @throws {MmsbError} `usage`, `out-of-bounds` for parts that no buffer has and copies that are none, `limit` for more workgroups than
   * the device can, `gpu` where the bindings are not those of the pipeline or the device is lost, `allocation`.
   */
  static async record(
    device: GpuDevice,
    commands: readonly SequenceCommand[],
    label = "sequence",
  ): Promise<RecordedSequence> {
    const buffers = new Set<GPUBuffer>();
    for (const command of commands) {
      for (const part of partsOf(command)) {
        checkPart(device, part);
        buffers.add(part.buffer);
      }
      if (command.kind === "dispatch") checkGroups(device, command.groups);
      if (command.kind === "copy") checkCopy(command);
    }
    const recorded = await device.checked(
      `record "${label}"`,
      () => commands.map((command) => prepare(device, command)),
    );
    return new RecordedSequence(device, recorded, [...buffers]);
  }

  /**
   * Whether it still fits: uses these buffers and no others.
   *
   * @param buffers Buffers, as they are now.
   */
  isOf(buffers: readonly GPUBuffer[]): boolean {
    if (buffers.length !== this.buffers.length) return false;
    for (let i = 0; i < buffers.length; i++) if (buffers[i] !== this.buffers[i]) return false;
    return true;
  }

  /**
   * Adds its commands to an encoder, which is outside of any pass.
   *
   * @param encoder The encoder.
   * @param steps How often.
   * @param first Number of the first of these steps, which says whose turn it is.
   * @throws {MmsbError} `usage` where a buffer of it was destroyed; nothing is added then.
   */
  encode(encoder: GPUCommandEncoder, steps = 1, first = 0): void {
    checkInteger("steps", steps, 0, 2 ** 31);
    checkInteger("first", first, 0, 2 ** 31);
    for (const buffer of this.buffers) this.#device.checkRange(buffer, 0, 0);
    let pass: GPUComputePassEncoder | undefined;
    for (let step = first; step < first + steps; step++) {
      const turn = step & 1;
      for (const command of this.#commands) {
        if (command.kind === "dispatch") {
          pass ??= encoder.beginComputePass();
          pass.setPipeline(command.pipeline);
          pass.setBindGroup(0, command.turns[turn]);
          pass.dispatchWorkgroups(...command.groups);
          continue;
        }
        pass?.end();
        pass = undefined;
        const { buffer, offset = 0, bytes } = command.target[turn];
        if (command.kind === "clear") {
          encoder.clearBuffer(buffer, offset, bytes);
        } else {
          const source = command.source[turn];
          encoder.copyBufferToBuffer(source.buffer, source.offset ?? 0, buffer, offset, bytes);
        }
      }
    }
    pass?.end();
  }

  /**
   * Submits its commands.
   *
   * @param steps How often they are done.
   * @param first As in {@linkcode RecordedSequence.encode}.
   * @returns When the driver has accepted them; the device may still be at work.
   * @throws {MmsbError} as {@linkcode RecordedSequence.encode}, and `gpu` where the driver refuses or the device is lost.
   */
  async replay(steps = 1, first = 0): Promise<void> {
    await this.#device.checked("replay what was recorded", () => {
      const encoder = this.#device.device.createCommandEncoder();
      this.encode(encoder, steps, first);
      this.#device.queue.submit([encoder.finish()]);
    });
  }
}

function turnsOf(part: BufferPart | Turns): Turns {
  return isTurns(part) ? part : [part, part];
}

function isTurns(part: BufferPart | Turns): part is Turns {
  return Array.isArray(part);
}

function partsOf(command: SequenceCommand): BufferPart[] {
  if (command.kind === "dispatch") return command.bindings.flatMap(turnsOf);
  if (command.kind === "copy") return [command.source, command.target].flatMap(turnsOf);
  return [...turnsOf(command.target)];
}

/** Nothing of no bytes can be bound, and a copy of none is a mistake. */
function checkPart(device: GpuDevice, { buffer, offset = 0, bytes }: BufferPart): void {
  checkInteger("bytes of a part", bytes, 4, Number.MAX_SAFE_INTEGER);
  device.checkRange(buffer, offset, bytes);
}

function checkGroups({ adapter }: GpuDevice, groups: DispatchCommand["groups"]): void {
  const max = adapter.limits.maxComputeWorkgroupsPerDimension;
  for (const count of groups) {
    if (count !== undefined) checkInteger("workgroups", count, 0, max, "limit");
  }
}

function checkCopy({ source, target }: CopyCommand): void {
  const sources = turnsOf(source), targets = turnsOf(target);
  for (let turn = 0; turn < 2; turn++) {
    const { buffer, bytes } = sources[turn];
    if (buffer !== targets[turn].buffer && bytes === targets[turn].bytes) continue;
    throw new MmsbError(
      "usage",
      `Cannot copy ${bytes} bytes to ${
        targets[turn].bytes
      } bytes: give two buffers and as many bytes of each`,
      { values: { sourceBytes: bytes, targetBytes: targets[turn].bytes } },
    );
  }
}

function prepare(device: GpuDevice, command: SequenceCommand): Dispatch | Copy | Clear {
  if (command.kind === "clear") return { kind: "clear", target: turnsOf(command.target) };
  if (command.kind === "copy") {
    return { kind: "copy", source: turnsOf(command.source), target: turnsOf(command.target) };
  }
  assert(command.kind === "dispatch", "a command is one of three");
  const { pipeline, bindings, groups: [x, y = 1, z = 1] } = command;
  const layout = command.layout ?? pipeline.getBindGroupLayout(0);
  const group = (turn: 0 | 1): GPUBindGroup =>
    device.device.createBindGroup({
      layout,
      entries: bindings.map((part, binding) => {
        const { buffer, offset = 0, bytes } = turnsOf(part)[turn];
        return { binding, resource: { buffer, offset, size: bytes } };
      }),
    });
  const even = group(0);
  return {
    kind: "dispatch",
    pipeline,
    turns: [even, bindings.some(isTurns) ? group(1) : even],
    groups: [x, y, z],
  };
}
