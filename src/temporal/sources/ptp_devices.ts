/**
 * The hardware clocks of this machine: what stands below `/dev/ptp*`, what it is, and how exact such a clock is.
 *
 * Two kinds differ in who keeps them. A clock that the host of a virtual machine gives (KVM, Hyper-V, Nitro, VMware) shows
 * the host's time, in UTC. A network card's clock shows whatever was written into it: only if a PTP daemon (ptp4l) steers it is
 * it the time, in TAI, and nothing at the device tells whether one does.
 *
 * How exact a kind is, is a table: makers state resolution and jitter, and virtual clocks have the cost of leaving the machine in them.
 *
 * Cost: some file reads, a millisecond.
 */
import { closeSync, openSync, readdirSync } from "node:fs";
import { checkKeys, checkType } from "../../base/assert.ts";
import { isGranted } from "./_platform.ts";
import { linkOf, textOf } from "./_setup_files.ts";
import { type SystemCalls, systemCalls } from "./system_calls.ts";

/** Devices are probed by number up to here where the folder cannot be listed. */
const PROBED_MAX = 8;
const EACCES = 13, EPERM = 1;

/** What is known of a kind of clock. */
export interface PtpKind {
  /** What it is, for people. */
  readonly title: string;
  /** How far its reading may be from what it shows, in ns. */
  readonly errorNs: number;
  /** What it counts in: TAI is ahead of UTC by the leap seconds. */
  readonly timescale: "tai" | "utc";
  /** Whether a host keeps it; else a PTP daemon must. */
  readonly isHostKept: boolean;
}

/** One hardware clock. */
export interface PtpDevice {
  /** Where it is: `/dev/ptp0`. */
  readonly path: string;
  /** Its name in the system: `ptp0`. */
  readonly name: string;
  /** What its driver calls it; empty where that cannot be read. */
  readonly clockName: string;
  /** Its driver; empty where that cannot be read. */
  readonly driver: string;
  /** What is known of its kind. */
  readonly kind: PtpKind;
  /** Why this process may not read it; left out where it may. */
  readonly unreadable?: string;
}

/** What was found. */
export interface PtpDevices {
  /** The clocks, by number. */
  readonly devices: readonly PtpDevice[];
  /** Why there are none, in one sentence; empty where there are some. */
  readonly reason: string;
}

/** Options of {@linkcode findPtpDevices}. */
export interface PtpDevicesOptions {
  /** Folder that stands for `/`, for tests. Default `/`. */
  readonly root?: string;
  /** The C library; `null` for none. Default: this machine's, where FFI is granted. */
  readonly calls?: SystemCalls | null;
}

const UNKNOWN: PtpKind = {
  title: "hardware clock of unknown make",
  errorNs: 1000,
  timescale: "tai",
  isHostKept: false,
};

/** Kinds by what clock or driver are called; the first that matches. */
const KINDS: readonly (readonly [RegExp, PtpKind])[] = [
  [/hyper-?v/i, host("Hyper-V's clock of the host", 5000)],
  [/kvm/i, host("KVM's clock of the host", 10_000)],
  [/^ena\b|^ena[-_]/i, host("Amazon Nitro's clock", 1000)],
  [/vmw/i, host("VMware's clock of the host", 10_000)],
  [/vmclock/i, host("clock of the host (vmclock)", 1000)],
  [
    /^(ptp_ocp|igb|igc|ice|i40e|mlx5|sfc)/i,
    card("network card or time card with a fine clock", 50),
  ],
  [/^(ixgbe|e1000e|tg3|bnxt|stmmac|mlx4|qede|cxgb4|fec)/i, card("network card", 100)],
];

function host(title: string, errorNs: number): PtpKind {
  return { title, errorNs, timescale: "utc", isHostKept: true };
}

function card(title: string, errorNs: number): PtpKind {
  return { title, errorNs, timescale: "tai", isHostKept: false };
}

/**
 * What is known of a kind of hardware clock.
 *
 * @param clockName What the driver calls the clock: `/sys/class/ptp/ptp0/clock_name`.
 * @param driver Name of the driver, as many cards call their clock by their address.
 * @returns The kind; a careful one for an unknown name.
 *
 * @example A virtual machine's and a network card's
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * equal(ptpKindOf("KVM virtual PTP").errorNs, 10_000);
 * equal(ptpKindOf("hyperv").timescale, "utc");
 * equal(ptpKindOf("a0369f123456", "igb").errorNs, 50);
 * equal(ptpKindOf("something new").errorNs, 1000);
 * ```
 */
export function ptpKindOf(clockName: string, driver = ""): PtpKind {
  checkType("clockName", clockName, "string");
  checkType("driver", driver, "string");
  return KINDS.find(([name]) => name.test(clockName) || name.test(driver))?.[1] ?? UNKNOWN;
}

/**
 * Finds the hardware clocks of this machine; nobody is asked for a permission.
 *
 * @param options Where to look, for tests.
 * @returns The clocks, or in words why there are none.
 * @throws {MmsbError} `usage` if an option is none.
 *
 * @example On any machine
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * const { devices, reason } = findPtpDevices();
 *
 * equal(devices.length > 0, reason === "");
 * ```
 */
export function findPtpDevices(options: PtpDevicesOptions = {}): PtpDevices {
  checkKeys("findPtpDevices", options, ["root", "calls"]);
  const root = checkType("root", options.root ?? "/", "string").replace(/\/+$/, "");
  const { calls = systemCalls() ?? null } = options;
  const listed = listDevices(root) ?? probeDevices(root, calls);
  if (typeof listed === "string") return { devices: [], reason: listed };
  const devices = listed.sort((a, b) => a - b).map((number) => describe(root, number, calls));
  return { devices, reason: devices.length > 0 ? "" : `there is no ${root}/dev/ptp*` };
}

/** Numbers of the devices; nothing where the folder may not be listed. */
function listDevices(root: string): number[] | undefined {
  const folder = `${root}/dev`;
  if (!isGranted({ name: "read", path: folder })) return undefined;
  try {
    const names = readdirSync(folder);
    return names.filter((name) => /^ptp\d+$/.test(name)).map((name) => Number(name.slice(3)));
  } catch {
    return undefined;
  }
}

/** Numbers of the devices that can be opened, or that are there and cannot; else why there are none. */
function probeDevices(root: string, calls: SystemCalls | null): number[] | string {
  if (calls === null) {
    return `${root}/dev may not be listed, for which Deno wants --allow-all, and without --allow-ffi no clock can be opened`;
  }
  return [...Array(PROBED_MAX).keys()].filter((number) => {
    const file = calls.open(`${root}/dev/ptp${number}`, 0);
    if (file >= 0) calls.close(file);
    return file >= 0 || file === -EACCES || file === -EPERM;
  });
}

function describe(root: string, number: number, calls: SystemCalls | null): PtpDevice {
  const name = `ptp${number}`, path = `${root}/dev/${name}`;
  const system = `${root}/sys/class/ptp/${name}`;
  const clockName = textOf(`${system}/clock_name`);
  const driver = linkOf(`${system}/device/driver`);
  const unreadable = unreadableReason(path, calls);
  return {
    path,
    name,
    clockName,
    driver,
    kind: ptpKindOf(clockName, driver),
    ...(unreadable === undefined ? {} : { unreadable }),
  };
}

function unreadableReason(path: string, calls: SystemCalls | null): string | undefined {
  const denied = "this user may not read it: see mmsb clock setup";
  if (calls !== null) {
    const file = calls.open(path, 0);
    if (file >= 0) {
      calls.close(file);
      return undefined;
    }
    return file === -EACCES || file === -EPERM ? denied : `it does not open (error ${-file})`;
  }
  try {
    closeSync(openSync(path, "r"));
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "EACCES" || code === "EPERM") return denied;
  }
  return "clocks are read by calls into the system, which need --allow-ffi";
}
