/** The calibration against a device whose clock is known. */
import { equal, match, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { ClockCalibration } from "./clock_calibration.ts";

Deno.test("ClockCalibration's bound contains the truth, also with every fifth pair interrupted", () => {
  fc.assert(fc.property(
    fc.record({
      ppm: fc.integer({ min: -500, max: 500 }),
      originNs: fc.integer({ min: 0, max: 2 ** 50 }),
      cpuNs: fc.integer({ min: 0, max: 2 ** 50 }),
      everyNs: fc.integer({ min: 1e6, max: 1e9 }),
      widthNs: fc.integer({ min: 0, max: 10_000 }),
    }),
    fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 8, maxLength: 100 }),
    fc.integer({ min: 0, max: 4 }),
    ({ ppm, originNs, cpuNs, everyNs, widthNs }, moments, interrupted) => {
      const calibration = new ClockCalibration();
      const deviceAt = (passed: number) => originNs + passed * (1 + ppm * 1e-6);
      moments.forEach((moment, index) => {
        const width = index % 5 === interrupted ? 50 * widthNs : widthNs;
        // Where within its width the device was read.
        calibration.add(
          cpuNs + index * everyNs,
          deviceAt(index * everyNs + width * moment / 100),
          width,
        );
      });
      const end = (moments.length - 1) * everyNs;
      for (const passed of [end * 0.5, end, end + 10 * everyNs]) {
        const device = deviceAt(passed);
        const away = Math.abs(calibration.toCpuNs(device) - cpuNs - passed);
        const errorNs = calibration.errorNs(device);
        ok(away <= errorNs + 0.5, `${away} of ${errorNs} ns`);
        ok(Math.abs(calibration.toDeviceNs(calibration.toCpuNs(device)) - device) < 1);
      }
      const { usable, driftPpm } = calibration.state(cpuNs + end);
      equal(usable, true);
      if (widthNs === 0) ok(Math.abs(driftPpm - ppm) < 0.01);
    },
  ));
});

Deno.test("ClockCalibration refuses what is no pair, and keeps what it had", () => {
  const calibration = new ClockCalibration({ pairs: 3 });
  throws(() => calibration.toCpuNs(1), { code: "clock", message: /0 pairs/ });
  calibration.add(100, 1000);
  for (const [cpu, device] of [[100, 2000], [99, 2000], [200, 999]]) {
    throws(() => calibration.add(cpu, device), { code: "usage", message: /went back/ });
  }
  for (const wrong of [NaN, Infinity, 2 ** 60, "5", 5n, undefined, null]) {
    throws(() => calibration.add(wrong as number, 5000), { code: "usage" });
    throws(() => calibration.add(5000, wrong as number), { code: "usage" });
    if (wrong !== undefined) {
      throws(() => calibration.add(5000, 5000, wrong as number), { code: "usage" });
    }
    throws(() => calibration.toCpuNs(wrong as number), { code: "usage" });
  }
  throws(() => calibration.add(5000, 5000, -1), { code: "usage" });
  equal(calibration.pairs, 1);
  calibration.add(200, 1100);
  throws(() => calibration.toCpuNs(1), { code: "clock", message: /2 pairs/ });
  match(calibration.state(200).reason ?? "", /2 pairs/);
  equal(calibration.state(200).errorNs, Infinity);
  calibration.add(300, 1200);
  equal(calibration.toCpuNs(1150), 250);
  calibration.reset();
  equal(calibration.state(0).usable, false);
  throws(() => new ClockCalibration({ pairs: 2 }), { code: "out-of-bounds" });
  throws(() => new ClockCalibration({ pears: 5 } as object), { code: "usage" });
});

Deno.test("ClockCalibration is stale after five minutes, and does not believe 1000 ppm or a clock that stands", () => {
  const add = (rate: number) => {
    const calibration = new ClockCalibration();
    for (let i = 0; i < 10; i++) calibration.add(i * 1e9, i * 1e9 * rate);
    return calibration;
  };
  const good = add(1.0009);
  equal(good.state(9e9 + 300e9).usable, true);
  equal(good.state(9e9 + 300.1e9).usable, false);
  match(good.state(9e9 + 400e9).reason ?? "", /400 s old/);
  throws(() => add(1.002).toCpuNs(5), { code: "clock", message: /ppm/ });
  throws(() => add(0.001).toCpuNs(5), { code: "clock", message: /is it in ns/ });
  throws(() => add(0).toCpuNs(5), { code: "clock", message: /stands still/ });
});

Deno.test("ClockCalibration keeps the newest pairs only", () => {
  const calibration = new ClockCalibration({ pairs: 8 });
  // The device was warm first, and runs otherwise since.
  for (let i = 0; i < 1000; i++) calibration.add(i * 1e6, i * 1e6 * 1.0005);
  for (let i = 1000; i < 1008; i++) calibration.add(i * 1e6, 1000e6 * 1.0005 + (i - 1000) * 1e6);
  equal(calibration.pairs, 8);
  ok(Math.abs(calibration.state(1008e6).driftPpm) < 0.001);
});
