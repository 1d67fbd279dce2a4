import assert from "node:assert/strict";
import type { GpuAdapterReport } from "../physical/gpu/gpu_device.ts";
import { distributionOf, gpuAdvice, type GpuSystem } from "./_gpu_advice.ts";
import { mmsbIn, testFolder } from "./_mmsb_test.ts";
import { gpuFinding, type GpuFound } from "./_probe_gpu.ts";

const LINUX: GpuSystem = { os: "linux", distribution: ["debian"], devices: [], closed: [] };
const LIMITS = {
  maxBufferSize: 2 ** 31,
  maxStorageBufferBindingSize: 2 ** 27,
  maxComputeInvocationsPerWorkgroup: 1024,
  maxComputeWorkgroupsPerDimension: 65_535,
};
const HARDWARE: GpuAdapterReport = {
  name: "Acme One",
  vendor: "acme",
  architecture: "one",
  driver: "",
  isSoftware: false,
  limits: LIMITS,
  features: ["timestamp-query"],
};
const KERNELS = [{ name: "copy" }, { name: "zero" }];

function ready(adapter: GpuAdapterReport, system = LINUX): GpuFound {
  const selfTest = { passed: true, kernels: KERNELS, ms: 12 };
  return {
    status: { state: "ready", reason: "", adapter, selfTest, openMs: 50 },
    crossover: "from 4096 rows of 16 bytes on",
    system,
  };
}

Deno.test("gpuFinding() tells a GPU from a driver that computes on the processor", () => {
  const hardware = gpuFinding(ready(HARDWARE));
  assert.equal(hardware.status, "ok");
  assert.equal(
    hardware.found,
    "Acme One; buffers to 2 GiB, bindings to 128 MiB; self-test: 2 kernels give the CPU's bytes in 12 ms; " +
      "faster than the CPU: from 4096 rows of 16 bytes on",
  );
  assert.equal(hardware.advice, undefined);
  assert.equal(hardware.figures.software, false);
  const software = { ...HARDWARE, name: "llvmpipe", isSoftware: true };
  const finding = gpuFinding(ready(software));
  assert.equal(finding.status, "limited");
  assert.match(finding.found, /^llvmpipe, a software driver; /);
  assert.equal(finding.advice, undefined, "a machine without a GPU needs no other driver");
  const unused = gpuFinding(ready(software, { ...LINUX, devices: ["/dev/nvidia0"] }));
  assert.match(unused.advice ?? "", /^there is \/dev\/nvidia0: `apt-get install nvidia-driver`/);
});

Deno.test("gpuFinding() says why a GPU is not used, and that nothing is lost by it", () => {
  const none = gpuFinding({
    status: { state: "none", reason: "no adapter was found", openMs: 0 },
    system: LINUX,
  });
  assert.equal(none.status, "limited");
  assert.equal(none.found, "no adapter was found");
  assert.match(none.meaning, /^All work is done by the CPU, with the same results/);
  assert.match(none.advice ?? "", /`apt-get install mesa-vulkan-drivers`/);
  const without = (reason: string) =>
    gpuFinding({ status: { state: "none", reason, openMs: 0 }, system: LINUX }).advice;
  assert.equal(without("this runtime has no WebGPU; run Deno 2.9 or newer"), undefined);
  assert.match(without("its thread needs --allow-read for x.ts") ?? "", /^run with --allow-read/);
  assert.match(without("asking for an adapter failed: too old") ?? "", /mesa-vulkan-drivers/);
  const wrong = gpuFinding({
    status: {
      state: "failed",
      reason: "copy: word 7 is 1, not 2",
      adapter: HARDWARE,
      selfTest: { passed: false, reason: "copy: word 7 is 1, not 2", kernels: KERNELS },
      openMs: 0,
    },
    system: LINUX,
  });
  assert.equal(wrong.status, "limited");
  assert.equal(wrong.found, "Acme One: copy: word 7 is 1, not 2");
  assert.match(wrong.advice ?? "", /^update the driver/);
  assert.equal(wrong.figures.selfTest, false);
});

Deno.test("gpuAdvice() names what to install on each system", () => {
  const on = (words: string[], more: Partial<GpuSystem> = {}) =>
    gpuAdvice({ ...LINUX, distribution: words, ...more }, false) ?? "";
  assert.match(on(["debian"]), /apt-get install mesa-vulkan-drivers.*NVIDIA.*nvidia-driver/);
  assert.match(on(["linuxmint", "ubuntu", "debian"]), /apt-get.*ubuntu-drivers install/);
  assert.match(on(["fedora"]), /dnf install mesa-vulkan-drivers/);
  assert.match(on(["rocky", "rhel"]), /dnf install/);
  assert.match(on(["arch"]), /pacman -S vulkan-swrast/);
  assert.match(on([]), /install Mesa's Vulkan drivers/);
  assert.match(on(["debian"]), /--device \/dev\/dri/, "a container may lack the device");
  const seen = { devices: ["/dev/dri/renderD128"] };
  assert.match(on(["debian"], seen), /^there is \/dev\/dri\/renderD128: `apt-get/);
  assert.match(
    on(["debian"], { ...seen, closed: seen.devices }),
    /^this user may not open \/dev\/dri\/renderD128: add it to the group/,
  );
  for (const os of ["darwin", "windows", "freebsd"]) assert(on([], { os }).length > 20);
  assert.equal(gpuAdvice(LINUX, true), undefined);
});

Deno.test("distributionOf() reads os-release, quoted or not", () => {
  assert.deepEqual(distributionOf('NAME="X"\nID=ubuntu\nID_LIKE=debian\n'), ["ubuntu", "debian"]);
  assert.deepEqual(distributionOf('ID="rocky"\nID_LIKE="rhel centos fedora"'), [
    "rocky",
    "rhel",
    "centos",
    "fedora",
  ]);
  assert.deepEqual(distributionOf(""), []);
});

Deno.test("mmsb doctor works without an adapter, and says what to install", async () => {
  const folder = testFolder("mmsb-doctor-");
  const { code, out, err } = await mmsbIn(folder, "doctor --json", { DENO_WEBGPU_BACKEND: "none" });
  assert.equal(code, 0, err);
  const gpu = JSON.parse(out).findings.find(({ id }: { id: string }) => id === "gpu");
  assert.equal(gpu.status, "limited");
  assert.equal(gpu.found, "no adapter was found");
  assert.match(gpu.advice, /driver/);
  assert.equal(gpu.figures.adapter, null);
});
