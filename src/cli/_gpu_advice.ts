/**
 * What to install so that there is a GPU for MMSB: exact for the systems that are known, from what their own files say.
 *
 * Deno reaches a GPU by Vulkan on Linux, Metal on macOS and DirectX 12 on Windows. A machine often has a GPU and no driver of
 * that kind: a server with the part for computing alone, a container that was not given the device, a user who may not
 * open it. Device files tell these apart.
 */

/** What a system says of itself, as far as it may be read. */
export interface GpuSystem {
  /** Name of the system, as Deno has it. */
  readonly os: string;
  /** Words of its distribution: its own id, then those it is like. */
  readonly distribution: readonly string[];
  /** Device files of graphics cards. */
  readonly devices: readonly string[];
  /** Those of them that this user may not open. */
  readonly closed: readonly string[];
}

/** How a distribution installs a driver: the family's words, and the command. */
const PACKAGES: readonly (readonly [readonly string[], string])[] = [
  [["debian", "ubuntu"], "apt-get install mesa-vulkan-drivers"],
  [["fedora", "rhel", "centos"], "dnf install mesa-vulkan-drivers"],
  [["arch"], "pacman -S vulkan-swrast vulkan-radeon vulkan-intel"],
  [["suse", "opensuse"], "zypper install libvulkan_lvp libvulkan_radeon libvulkan_intel"],
];

/** How a distribution installs NVIDIA's driver with the part for Vulkan. */
const NVIDIA_PACKAGES: Readonly<Record<string, string>> = {
  debian: "`apt-get install nvidia-driver` (section non-free)",
  ubuntu: "`ubuntu-drivers install`, on a server also libnvidia-gl of the same version",
};

/** What to do where no adapter was found, or only one that computes on the processor. */
export function gpuAdvice(system: GpuSystem, hasSoftware: boolean): string | undefined {
  if (system.os !== "linux") return hasSoftware ? undefined : otherAdvice(system.os);
  const { devices, closed } = system;
  if (closed.length > 0) {
    return `this user may not open ${closed.join(", ")}: add it to the group of that file ` +
      "(usually render), then log in again";
  }
  const hasNvidia = devices.some((device) => device.includes("nvidia"));
  if (hasNvidia) return `there is ${devices.join(", ")}: ${nvidiaAdvice(system)}`;
  if (hasSoftware && devices.length === 0) return undefined;
  const known = PACKAGES.find(([words]) => isLike(system, words));
  const software = known === undefined
    ? "install Mesa's Vulkan drivers"
    : `\`${known[1]}\` installs Mesa's drivers`;
  const contents = `${software}: for AMD and Intel GPUs, and one that computes on the processor`;
  if (devices.length > 0) return `there is ${devices.join(", ")}: ${contents}`;
  return `${contents}; for NVIDIA: ${nvidiaAdvice(system)}; in a container pass the device in ` +
    "(`--device /dev/dri`, or `--gpus all -e NVIDIA_DRIVER_CAPABILITIES=all`)";
}

function nvidiaAdvice(system: GpuSystem): string {
  const family = system.distribution.find((word) => Object.hasOwn(NVIDIA_PACKAGES, word));
  const packages = family === undefined ? "install NVIDIA's driver" : NVIDIA_PACKAGES[family];
  return `${packages}; a driver for CUDA alone has no Vulkan`;
}

function isLike({ distribution }: GpuSystem, words: readonly string[]): boolean {
  return distribution.some((word) => words.includes(word));
}

function otherAdvice(os: string): string {
  switch (os) {
    case "darwin":
      return "Metal is part of macOS: run outside of a virtual machine, on a Mac of 2012 or later";
    case "windows":
      return "install the graphics driver of the GPU's maker, with DirectX 12";
    default:
      return "install a Vulkan driver if there is a GPU";
  }
}

/** Reads what the system says; what may not be read is left out, and nobody is asked for a permission. */
export async function gpuSystem(): Promise<GpuSystem> {
  const { os } = Deno.build;
  if (os !== "linux") return { os, distribution: [], devices: [], closed: [] };
  const [release, devices] = await Promise.all([
    readIfPermitted("/etc/os-release"),
    deviceFiles(),
  ]);
  const closed: string[] = [];
  for (const device of devices) if (!await canOpen(device)) closed.push(device);
  return { os, distribution: distributionOf(release), devices, closed };
}

/** The words of `ID` and `ID_LIKE` of an os-release file (os-release(5)). */
export function distributionOf(release: string): string[] {
  return ["ID", "ID_LIKE"].flatMap((key) => {
    const [, words = ""] = new RegExp(`^${key}=(.*)$`, "m").exec(release) ?? [];
    return words.replace(/["']/g, "").split(/\s+/).filter((word) => word !== "");
  });
}

async function deviceFiles(): Promise<string[]> {
  const files: string[] = [];
  for (
    const [folder, pattern] of [["/dev", /^(nvidia\d+|dxg)$/], [
      "/dev/dri",
      /^renderD\d+$/,
    ]] as const
  ) {
    try {
      if (!mayRead(folder)) continue;
      for await (const { name } of Deno.readDir(folder)) {
        if (pattern.test(name)) files.push(`${folder}/${name}`);
      }
    } catch { /* There is no such folder. */ }
  }
  return files.sort();
}

async function canOpen(path: string): Promise<boolean> {
  if (!mayRead(path)) return true;
  try {
    (await Deno.open(path, { read: true })).close();
    return true;
  } catch (error) {
    return !(error instanceof Deno.errors.PermissionDenied);
  }
}

function mayRead(path: string): boolean {
  return Deno.permissions.querySync({ name: "read", path }).state === "granted";
}

async function readIfPermitted(path: string): Promise<string> {
  try {
    return mayRead(path) ? await Deno.readTextFile(path) : "";
  } catch {
    return "";
  }
}
