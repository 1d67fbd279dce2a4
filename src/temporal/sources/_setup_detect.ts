/**
 * What a machine has to keep time with, read off its files and asked of its kernel: who hosts it, which time services it has,
 * whether one keeps the clock, what this process may do.
 *
 * All files are below a root folder, so that a test can show any machine. What may not be read is `unseen`, not absent:
 * Deno opens `/sys` and `/proc` only with all permissions. The kernel knows of a service that no file here tells of, as below a
 * container.
 *
 * Cost: some twenty looks at files.
 */
import { statSync } from "node:fs";
import { isGranted } from "./_platform.ts";
import { textOf } from "./_setup_files.ts";
import { KernelReport } from "./kernel_report.ts";
import type { SystemCalls } from "./system_calls.ts";

/** Who hosts the machine. */
export type TimeHost =
  | "azure"
  | "hyperv"
  | "ec2"
  | "google"
  | "kvm"
  | "vmware"
  | "none";

/** A time service of the system. */
export interface TimeService {
  /** Its name. */
  readonly name: "chronyd" | "ntpd" | "systemd-timesyncd" | "ptp4l";
  /** Whether it is there; `unseen` where this process may not look. */
  readonly state: "running" | "installed" | "absent" | "unseen";
}

/** What a machine has to keep time with. */
export interface TimeFacts {
  /** Who hosts it; `none` also where that cannot be seen. */
  readonly host: TimeHost;
  /** Whether this is a container: it has the clock of the machine below, and cannot set it. */
  readonly isContainer: boolean;
  /** Whether the kernel's files could be read. */
  readonly seesSystem: boolean;
  /** Its time services. */
  readonly services: readonly TimeService[];
  /** Whether the kernel says that somebody keeps its clock; `unknown` where it cannot be asked. */
  readonly kernelClock: "kept" | "unkept" | "unknown";
  /** Whether calls into the system are permitted. */
  readonly mayCall: boolean;
  /** Whether time servers and chronyd may be asked. */
  readonly mayAsk: boolean;
  /** chrony's settings; empty where there are none. */
  readonly chronySettings: string;
  /** Where they are, or where they would be. */
  readonly chronyPath: string;
}

const SERVICES: readonly {
  readonly name: TimeService["name"];
  readonly running: readonly string[];
  readonly installed: readonly string[];
}[] = [
  {
    name: "chronyd",
    running: ["/run/chrony/chronyd.pid", "/run/chronyd.pid", "/run/chrony/chronyd.sock"],
    installed: ["/usr/sbin/chronyd", "/usr/bin/chronyd"],
  },
  { name: "ntpd", running: ["/run/ntpd.pid"], installed: ["/usr/sbin/ntpd", "/usr/bin/ntpd"] },
  {
    name: "systemd-timesyncd",
    running: ["/run/systemd/timesync/synchronized"],
    installed: ["/usr/lib/systemd/systemd-timesyncd", "/lib/systemd/systemd-timesyncd"],
  },
  {
    name: "ptp4l",
    running: ["/run/ptp4l", "/var/run/ptp4l"],
    installed: ["/usr/sbin/ptp4l", "/usr/bin/ptp4l"],
  },
];

/** The tag that Azure gives its machines, and other hosts with Hyper-V do not. */
const AZURE_TAG = "7783-7084-3265-9085-8269-3286-77";

/** Looks at the machine; `root` stands for `/`, without a slash at its end. */
export function detectFacts(root: string, calls: SystemCalls | null): TimeFacts {
  const clocks = textOf(
    `${root}/sys/devices/system/clocksource/clocksource0/available_clocksource`,
  );
  const settings = ["/etc/chrony/chrony.conf", "/etc/chrony.conf"].map((path) => `${root}${path}`);
  const chronyPath = settings.find(exists) ?? settings[0];
  return {
    host: hostOf(root, clocks),
    isContainer: exists(`${root}/.dockerenv`) || exists(`${root}/run/.containerenv`),
    seesSystem: clocks !== "",
    services: SERVICES.map(({ name, running, installed }) => ({
      name,
      state: running.some((path) => exists(root + path))
        ? "running"
        : installed.some((path) => exists(root + path))
        ? "installed"
        : [...running, ...installed].every((path) => mayRead(root + path))
        ? "absent"
        : "unseen",
    })),
    kernelClock: kernelClock(calls),
    mayCall: isGranted({ name: "ffi" }),
    mayAsk: isGranted({ name: "net" }),
    chronySettings: textOf(chronyPath),
    chronyPath,
  };
}

function hostOf(root: string, clocks: string): TimeHost {
  const board = `${root}/sys/class/dmi/id`;
  const vendor = textOf(`${board}/sys_vendor`), product = textOf(`${board}/product_name`);
  if (textOf(`${board}/chassis_asset_tag`) === AZURE_TAG) return "azure";
  if (/^Amazon EC2/.test(vendor)) return "ec2";
  if (/Google/.test(vendor) || /Google Compute/.test(product)) return "google";
  if (/VMware/.test(vendor)) return "vmware";
  if (/hyperv/.test(clocks) || (/Microsoft/.test(vendor) && /Virtual Machine/.test(product))) {
    return "hyperv";
  }
  return /kvm-clock/.test(clocks) || /KVM|QEMU/.test(`${vendor} ${product}`) ? "kvm" : "none";
}

function kernelClock(calls: SystemCalls | null): TimeFacts["kernelClock"] {
  const report = new KernelReport();
  if (calls === null || !report.ask(calls)) return "unknown";
  return report.isSynchronised ? "kept" : "unkept";
}

function mayRead(path: string): boolean {
  return isGranted({ name: "read", path });
}

/** Whether something is there; not, where this may not be seen. */
function exists(path: string): boolean {
  if (!mayRead(path)) return false;
  try {
    statSync(path);
    return true;
  } catch {
    return false;
  }
}
