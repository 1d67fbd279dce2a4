/**
 * The probes of `mmsb doctor` for the disk under a folder: the time of a synced write, as a log does
 * it, and free space.
 */

import { statfsSync } from "node:fs";
import { formatBytes, formatCount } from "../base/bytes.ts";
import { type Finding, messageOf, ms } from "./_finding.ts";

const GIB = 2 ** 30;
const SYNC_BLOCK_BYTES = 4096;
const SYNC_COUNT = 50;
/** `TMPFS_MAGIC` and `RAMFS_MAGIC` of linux/magic.h. */
const MEMORY_FILE_SYSTEMS = [0x01021994, 0x858458f6];
/** Above this a synced tick misses the budget of 16 ms now and then. */
const SYNC_MS_GOOD = 5;

/** Times a write and sync of 4 KiB. */
export function probeSync(folder: string): Finding {
  const common = { id: "sync", name: "disk sync" };
  try {
    const times = timeSyncs(folder);
    const medianMs = times[times.length >> 1];
    const maxMs = times[times.length - 1];
    const isMemory = MEMORY_FILE_SYSTEMS.includes(Number(statfsSync(folder).type));
    const figures = { medianMs, maxMs, samples: times.length, memoryFileSystem: isMemory };
    const found = `4 KiB written and synced in ${
      ms(medianMs)
    } (median of ${times.length}), at most ${ms(maxMs)}`;
    if (isMemory) {
      return {
        ...common,
        status: "limited",
        found: `${found}, in memory`,
        meaning: "This folder is in memory: whatever the durability, a power cut loses it",
        advice: "give a folder on a disk with --dir",
        figures,
      };
    }
    const perSecond = formatCount(1000 / medianMs);
    return {
      ...common,
      status: medianMs <= SYNC_MS_GOOD ? "ok" : "limited",
      found,
      meaning:
        `durability "always" commits about ${perSecond} times a second; "group" shares a sync`,
      ...(medianMs <= SYNC_MS_GOOD ? {} : {
        advice: 'use durability "group", or a disk with a protected write cache',
      }),
      figures,
    };
  } catch (error) {
    return {
      ...common,
      status: "missing",
      found: `a file cannot be written and synced: ${messageOf(error)}`,
      meaning: "Nothing can be made durable in this folder; a bus without dir still works",
      advice: "give a folder that you may write with --dir",
      figures: { medianMs: null, maxMs: null, samples: 0, memoryFileSystem: null },
    };
  }
}

/** Times in ms of a write and fdatasync of one block each, sorted. */
function timeSyncs(folder: string): number[] {
  const path = Deno.makeTempFileSync({ dir: folder, prefix: ".mmsb-doctor-" });
  try {
    using file = Deno.openSync(path, { read: true, write: true });
    // Written in full first, as a log's segments are: a sync of data then has no size to store.
    file.writeSync(new Uint8Array(SYNC_BLOCK_BYTES * SYNC_COUNT));
    file.syncSync();
    const block = new Uint8Array(SYNC_BLOCK_BYTES).fill(1);
    const times: number[] = [];
    for (let index = 0; index < SYNC_COUNT; index++) {
      file.seekSync(index * SYNC_BLOCK_BYTES, Deno.SeekMode.Start);
      const started = performance.now();
      file.writeSync(block);
      file.syncDataSync();
      times.push(performance.now() - started);
    }
    return times.sort((a, b) => a - b);
  } finally {
    Deno.removeSync(path);
  }
}

/** Looks for free space. */
export function probeSpace(folder: string): Finding {
  const common = { id: "space", name: "disk" };
  try {
    const { bavail, blocks, bsize } = statfsSync(folder);
    const [freeBytes, totalBytes] = [
      Number(bavail) * Number(bsize),
      Number(blocks) * Number(bsize),
    ];
    // A 16-byte delta takes at most 40 bytes of log on average.
    const deltas = formatCount(freeBytes / 40);
    return {
      ...common,
      status: freeBytes >= GIB ? "ok" : "limited",
      found: `${formatBytes(freeBytes)} free of ${formatBytes(totalBytes)}`,
      meaning: `Room for at least ${deltas} deltas of 16 bytes before old segments must go`,
      ...(freeBytes >= GIB ? {} : { advice: "free some, or give another folder with --dir" }),
      figures: { freeBytes, totalBytes },
    };
  } catch (error) {
    return {
      ...common,
      status: "limited",
      found: `unknown: ${messageOf(error)}`,
      meaning: "How much log fits is not known",
      figures: { freeBytes: null, totalBytes: null },
    };
  }
}
