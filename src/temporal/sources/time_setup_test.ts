/** Setups of machines that stand below a folder of the test's. */
import { deepEqual, equal, match, ok, throws } from "node:assert/strict";
import { dirname } from "node:path";
import { findPtpDevices } from "./ptp_devices.ts";
import type { SystemCalls } from "./system_calls.ts";
import { applyTimeSetup, inspectTimeSetup, type TimeSetup } from "./time_setup.ts";

const RULE = "etc/udev/rules.d/60-mmsb-ptp.rules";
const CLOCKS = "sys/devices/system/clocksource/clocksource0/available_clocksource";

/** Runs a check on a machine of these files. */
function onMachine(
  files: Readonly<Record<string, string>>,
  check: (root: string) => void,
): void {
  const root = Deno.makeTempDirSync({ prefix: "mmsb-setup-" });
  try {
    for (const [path, text] of Object.entries({ "dev/null": "", ...files })) {
      Deno.mkdirSync(dirname(`${root}/${path}`), { recursive: true });
      Deno.writeTextFileSync(`${root}/${path}`, text);
    }
    check(root);
  } finally {
    Deno.removeSync(root, { recursive: true });
  }
}

function step(setup: TimeSetup, id: string): TimeSetup["steps"][number] {
  const found = setup.steps.find((step) => step.id.startsWith(id));
  ok(found, `No step ${id} among ${setup.steps.map(({ id }) => id)}`);
  return found;
}

/** A library by which devices open, or fail with an error. */
function opening(result: number): SystemCalls {
  return { open: () => result, close: () => 0, adjtimex: () => -38 } as unknown as SystemCalls;
}

Deno.test("findPtpDevices() lists clocks with kind and rights", () => {
  onMachine({
    "dev/ptp10": "",
    "dev/ptp2": "",
    "dev/ptp_kvm": "",
    "sys/class/ptp/ptp2/clock_name": "KVM virtual PTP\n",
    "sys/class/ptp/ptp10/clock_name": "a0369f123456\n",
    "sys/bus/drivers/igc/x": "",
    "sys/class/ptp/ptp10/device/x": "",
  }, (root) => {
    Deno.symlinkSync(`${root}/sys/bus/drivers/igc`, `${root}/sys/class/ptp/ptp10/device/driver`);
    const { devices, reason } = findPtpDevices({ root, calls: opening(5) });
    equal(reason, "");
    deepEqual(devices.map(({ name }) => name), ["ptp2", "ptp10"]);
    deepEqual(devices.map(({ kind }) => kind.errorNs), [10_000, 50]);
    deepEqual(devices.map(({ kind }) => kind.timescale), ["utc", "tai"]);
    equal(devices[1].driver, "igc");
    equal(devices[0].unreadable, undefined);
    const denied = findPtpDevices({ root, calls: opening(-13) });
    match(denied.devices[0].unreadable ?? "", /mmsb clock setup/);
    match(findPtpDevices({ root, calls: null }).devices[0].unreadable ?? "", /--allow-ffi/);
  });
  onMachine({}, (root) => {
    deepEqual(findPtpDevices({ root }), { devices: [], reason: `there is no ${root}/dev/ptp*` });
  });
});

Deno.test("inspectTimeSetup() tells hosts apart and gives each its lines for chrony", () => {
  const azure = { "sys/class/dmi/id/chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77\n" };
  const machines: [Record<string, string>, string, RegExp][] = [
    [
      { ...azure, [CLOCKS]: "tsc hyperv_clocksource_tsc_page" },
      "azure",
      /^refclock PHC \/dev\/ptp_hyperv poll 3 dpoll -2 offset 0$/,
    ],
    [{ [CLOCKS]: "hyperv_clocksource_tsc_page acpi_pm" }, "hyperv", /ptp_hyperv/],
    [{ [CLOCKS]: "tsc kvm-clock" }, "kvm", /^refclock PHC \/dev\/ptp_kvm /],
    [{ "sys/class/dmi/id/sys_vendor": "Amazon EC2", [CLOCKS]: "tsc" }, "ec2", /169\.254\.169\.123/],
    [
      { "sys/class/dmi/id/sys_vendor": "Google", [CLOCKS]: "tsc kvm-clock" },
      "google",
      /metadata\.google/,
    ],
  ];
  for (const [files, host, line] of machines) {
    onMachine(files, (root) => {
      const setup = inspectTimeSetup({ root, calls: null });
      equal(setup.facts.host, host);
      const { file, done } = step(setup, "chrony-source");
      equal(done, false);
      match(file?.lines[0] ?? "", line);
      equal(file?.path, `${root}/etc/chrony/chrony.conf`);
    });
  }
  onMachine({ [CLOCKS]: "tsc hpet" }, (root) => {
    const { facts, steps } = inspectTimeSetup({ root, calls: null });
    equal(facts.host, "none");
    equal(facts.seesSystem, true);
    equal(steps.some(({ id }) => id.startsWith("chrony-source")), false);
  });
});

Deno.test("inspectTimeSetup() leaves what is right already", () => {
  onMachine({
    [CLOCKS]: "tsc kvm-clock",
    "dev/ptp0": "",
    "sys/class/ptp/ptp0/clock_name": "KVM virtual PTP",
    "etc/chrony.conf": "# mine\n  refclock PHC /dev/ptp_kvm poll 0\n",
    "run/chrony/chronyd.pid": "5",
  }, (root) => {
    const setup = inspectTimeSetup({ root, calls: opening(5) });
    equal(setup.facts.chronyPath, `${root}/etc/chrony.conf`);
    equal(step(setup, "chrony").done, true);
    equal(step(setup, "chrony-source").done, true);
    equal(step(setup, "ptp-rights").done, false);
    ok(setup.steps.every(({ done, commands, file }) => !done || (commands.length === 0 && !file)));
  });
  onMachine({ [CLOCKS]: "tsc kvm-clock", ".dockerenv": "" }, (root) => {
    const told = (state: number) => {
      const calls = { ...opening(5), adjtimex: () => state };
      const setup = inspectTimeSetup({ root, calls });
      equal(setup.steps.some(({ id }) => id.startsWith("chrony-source")), false);
      return { ...step(setup, "chrony"), kernelClock: setup.facts.kernelClock };
    };
    const [kept, unkept, unknown] = [told(0), told(5), told(-38)];
    deepEqual([kept.kernelClock, kept.done], ["kept", true]);
    deepEqual([unkept.kernelClock, unkept.done], ["unkept", false]);
    deepEqual([unknown.kernelClock, unknown.done], ["unknown", false]);
    match(unkept.title, /^This is a container: run a time service/);
  });
  onMachine({ [CLOCKS]: "tsc" }, (root) => {
    const calls = { ...opening(5), adjtimex: () => 0 };
    match(step(inspectTimeSetup({ root, calls }), "chrony").title, /the kernel says so$/);
  });
  onMachine({ "run/systemd/timesync/synchronized": "" }, (root) => {
    match(step(inspectTimeSetup({ root, calls: null }), "chrony").title, /systemd-timesyncd/);
  });
  onMachine({ "usr/sbin/chronyd": "" }, (root) => {
    match(step(inspectTimeSetup({ root, calls: null }), "chrony").title, /^Start chronyd/);
  });
});

Deno.test("applyTimeSetup() writes one file once, whole, and never over another", () => {
  onMachine({ "etc/udev/rules.d/50-other.rules": "x" }, (root) => {
    deepEqual(applyTimeSetup({ root }), { path: `${root}/${RULE}`, written: true });
    const text = Deno.readTextFileSync(`${root}/${RULE}`);
    match(text, /^SUBSYSTEM=="ptp", GROUP="clock", MODE="0640"$/m);
    equal(Deno.statSync(`${root}/${RULE}`).mode! & 0o777, 0o644);
    equal(applyTimeSetup({ root }).written, false);
    equal(Deno.readTextFileSync(`${root}/${RULE}`), text);
    const names = [...Deno.readDirSync(dirname(`${root}/${RULE}`))].map(({ name }) => name).sort();
    deepEqual(names, ["50-other.rules", "60-mmsb-ptp.rules"], "Nothing else is left");
  });
  onMachine({ [RULE]: "mine" }, (root) => {
    throws(() => applyTimeSetup({ root }), { code: "usage", message: /another file/ });
    equal(Deno.readTextFileSync(`${root}/${RULE}`), "mine");
  });
  onMachine({ [`${RULE}/x`]: "a folder" }, (root) => {
    throws(() => applyTimeSetup({ root }), { code: "usage", message: /another file/ });
  });
  onMachine({}, (root) => {
    throws(() => applyTimeSetup({ root }), { code: "io", message: /no such folder/ });
    throws(() => inspectTimeSetup({ rot: root } as object), { code: "usage" });
    throws(() => applyTimeSetup({ root: 5 as unknown as string }), { code: "usage" });
  });
});
