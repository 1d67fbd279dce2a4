/**
 * The chain of sources that this machine has, and what it has not, in words.
 *
 * What is missing at first may come later: a daemon that is started after the program, a device that is plugged in. So the
 * chain can be looked over again; it gives what it has not given before, and says anew what is missing.
 * A daemon that answers and has no time itself yet is taken, as it will have it.
 *
 * Cost: some file reads, and a datagram to this machine; 250 ms at most where nobody answers. A later look starts no process.
 */
import { askChrony, CHRONY_PORT } from "./_chrony_ask.ts";
import { ChronyClock } from "./chrony_clock.ts";
import type { ClockKind, ClockSource } from "./clock_source.ts";
import { PtpClock } from "./ptp_clock.ts";
import { findPtpDevices } from "./ptp_devices.ts";
import { SntpClock } from "./sntp_clock.ts";
import { systemCallsMissing } from "./system_calls.ts";
import { SystemClock } from "./system_clock.ts";

const CHRONYC = "chronyc", TIMEOUT_MS = 250;

/** What to look for. */
export interface MachineChainOptions {
  /** NTP servers to ask; none are asked where it is empty. */
  readonly servers?: readonly string[];
  /** Kinds to look for. */
  readonly kinds: readonly ClockKind[];
  /** Port of chronyd's command protocol. */
  readonly chronyPort?: number;
  /** Folder that stands for `/` where devices are looked for, for tests. */
  readonly root?: string;
}

/** Looks for the sources of this machine, again and again. */
export class MachineChain {
  readonly #kinds: readonly ClockKind[];
  readonly #chronyPort: number;
  readonly #root: string;
  readonly #servers: readonly string[];
  /** What cannot change while the process lives. */
  readonly #lasting: string[] = [];
  readonly #devices = new Set<string>();
  #hasDaemon = false;
  #notes: readonly string[] = [];

  /** Looks for nothing yet. */
  constructor({ servers = [], kinds, chronyPort = CHRONY_PORT, root = "/" }: MachineChainOptions) {
    this.#servers = servers;
    this.#kinds = kinds;
    this.#chronyPort = chronyPort;
    this.#root = root;
  }

  /** What could not be had at the last look, each in a sentence. */
  get notes(): readonly string[] {
    return this.#notes;
  }

  /**
   * Looks for the first time.
   *
   * @returns The sources, not started, best kind first.
   * @throws {MmsbError} `usage` or `limit` where a server is none.
   */
  async first(): Promise<readonly ClockSource[]> {
    const missing = systemCallsMissing();
    if (missing !== undefined) {
      this.#lasting.push(
        `The kernel cannot be asked about its clock, as ${missing}: the bound is 100 ms, and clocks are slower to read`,
      );
    }
    // First, as it is the one that can be refused.
    const sntp = this.#kinds.includes("sntp") ? this.#sntp() : [];
    const hardware = await this.#hardware("auto");
    const system = this.#kinds.includes("system") ? [new SystemClock()] : [];
    return [...hardware, ...sntp, ...system];
  }

  /** Looks for daemon and devices again; gives those that it has not given before, not started. */
  again(): Promise<readonly ClockSource[]> {
    return this.#hardware("socket");
  }

  async #hardware(via: "auto" | "socket"): Promise<readonly ClockSource[]> {
    const notes = [...this.#lasting];
    const ptp = this.#kinds.includes("ptp") ? this.#ptp(notes) : [];
    const daemon = this.#kinds.includes("daemon") ? await this.#daemon(via, notes) : [];
    this.#notes = notes;
    return [...ptp, ...daemon];
  }

  #sntp(): ClockSource[] {
    if (this.#servers.length > 0) return [new SntpClock({ servers: this.#servers })];
    this.#lasting.push("No NTP server is asked, as none was named");
    return [];
  }

  #ptp(notes: string[]): ClockSource[] {
    const { devices, reason } = findPtpDevices({ root: this.#root });
    if (devices.length === 0) notes.push(`No hardware clock is used, as ${reason}`);
    return devices.flatMap(({ path, name, unreadable }) => {
      if (this.#devices.has(path)) return [];
      if (unreadable === undefined) {
        this.#devices.add(path);
        return [new PtpClock({ device: path, root: this.#root })];
      }
      notes.push(`The hardware clock ${name} is not used, as ${unreadable}`);
      return [];
    });
  }

  async #daemon(via: "auto" | "socket", notes: string[]): Promise<ClockSource[]> {
    if (this.#hasDaemon) return [];
    const port = this.#chronyPort;
    const { tracking } = await askChrony({ port, chronyc: CHRONYC, via, timeoutMs: TIMEOUT_MS });
    if (typeof tracking !== "string") {
      this.#hasDaemon = true;
      return [new ChronyClock({ port })];
    }
    notes.push(`No time daemon is asked, as ${tracking}`);
    return [];
  }
}
