/**
 * The chain of sources that this machine has, and what it has not, in words.
 *
 * Looked for once: a daemon that is started later, or a device that is plugged in, is found by the next opening.
 * A daemon that answers and has no time itself yet is taken, as it will have it.
 *
 * Cost: some file reads, and a datagram to this machine; 250 ms at most where nobody answers.
 */
import { askChrony, CHRONY_PORT } from "./_chrony_ask.ts";
import { ChronyClock } from "./chrony_clock.ts";
import type { ClockKind, ClockSource } from "./clock_source.ts";
import { PtpClock } from "./ptp_clock.ts";
import { findPtpDevices } from "./ptp_devices.ts";
import { SntpClock } from "./sntp_clock.ts";
import { systemCallsMissing } from "./system_calls.ts";
import { SystemClock } from "./system_clock.ts";

const CHRONY = { port: CHRONY_PORT, chronyc: "chronyc", via: "auto", timeoutMs: 250 } as const;

/** Sources, and what could not be had. */
export interface MachineSources {
  /** The sources, best kind first. */
  readonly sources: readonly ClockSource[];
  /** What could not be had, each in a sentence. */
  readonly notes: readonly string[];
}

/**
 * Looks for the sources of this machine.
 *
 * @param servers NTP servers to ask; none are asked where it is empty.
 * @param kinds Kinds to look for.
 * @returns The sources, not started, and what could not be had.
 * @throws {MmsbError} `usage` or `limit` where a server is none.
 */
export async function machineSources(
  servers: readonly string[],
  kinds: readonly ClockKind[],
): Promise<MachineSources> {
  const notes: string[] = [];
  const missing = systemCallsMissing();
  if (missing !== undefined) {
    notes.push(
      `The kernel cannot be asked about its clock, as ${missing}: the bound is 100 ms, and clocks are slower to read`,
    );
  }
  // First, as it is the one that can be refused.
  const sntp = kinds.includes("sntp") ? sntpSources(servers, notes) : [];
  const ptp = kinds.includes("ptp") ? ptpSources(notes) : [];
  const daemon = kinds.includes("daemon") ? await daemonSources(notes) : [];
  const system = kinds.includes("system") ? [new SystemClock()] : [];
  return { sources: [...ptp, ...daemon, ...sntp, ...system], notes };
}

function sntpSources(servers: readonly string[], notes: string[]): ClockSource[] {
  if (servers.length > 0) return [new SntpClock({ servers })];
  notes.push("No NTP server is asked, as none was named");
  return [];
}

function ptpSources(notes: string[]): ClockSource[] {
  const { devices, reason } = findPtpDevices();
  if (devices.length === 0) notes.push(`No hardware clock is used, as ${reason}`);
  return devices.flatMap(({ path, name, unreadable }) => {
    if (unreadable === undefined) return [new PtpClock({ device: path })];
    notes.push(`The hardware clock ${name} is not used, as ${unreadable}`);
    return [];
  });
}

async function daemonSources(notes: string[]): Promise<ClockSource[]> {
  const { tracking } = await askChrony(CHRONY);
  if (typeof tracking !== "string") return [new ChronyClock()];
  notes.push(`No time daemon is asked, as ${tracking}`);
  return [];
}
