/** An SNTP client over the kernel's own delay, in a network namespace, where the machine permits that. */
import { equal, ok } from "node:assert/strict";
import { chronydPath } from "./testdata/chronyd.ts";

const DELAY_MS = 12;
const CLIENT = new URL("./testdata/netem_client.ts", import.meta.url).pathname;

async function inNamespace(command: string): Promise<Deno.CommandOutput | undefined> {
  try {
    const args = ["--net", "sh", "-c", `ip link set lo up && ${command}`];
    return await new Deno.Command("unshare", { args, stdin: "null" }).output();
  } catch {
    return undefined; // no unshare
  }
}

async function missing(): Promise<string | undefined> {
  if (chronydPath === undefined) return "there is no chronyd: apt-get install chrony";
  const plain = await inNamespace("true");
  if (!plain?.success) return "this machine permits no network namespaces";
  const netem = await inNamespace("tc qdisc add dev lo root netem delay 1ms");
  return netem?.success ? undefined : "this kernel has no tc netem";
}

const reason = await missing();
const suffix = reason === undefined ? "" : ` (skipped: ${reason})`;

Deno.test({
  name: `SntpClock keeps its bound where the kernel delays questions by 12 ms${suffix}`,
  ignore: reason !== undefined,
  async fn(): Promise<void> {
    const output = await inNamespace(
      `exec '${Deno.execPath()}' run -A --no-check '${CLIENT}' ${DELAY_MS}`,
    );
    const text = new TextDecoder().decode(output?.stderr);
    ok(output?.success, text);
    const figures = JSON.parse(new TextDecoder().decode(output?.stdout));
    ok(figures.delayNs > 10e6 && figures.delayNs < 100e6, `${figures.delayNs}`);
    // Without FFI there is no true time to compare with.
    if (figures.contained === undefined) return;
    equal(figures.contained, 1);
    ok(figures.tightness > 0.5, `${figures.tightness}`);
  },
});
