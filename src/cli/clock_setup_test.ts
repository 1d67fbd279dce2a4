/** `mmsb clock setup` on machines that stand below a folder of the test's, in a process of its own. */
import { equal, match, ok } from "node:assert/strict";

const MODULE = new URL("./clock_setup.ts", import.meta.url).href;
const RUN = `
const { clockSetupCommand } = await import(${JSON.stringify(MODULE)});
const [root, ...runs] = Deno.args;
for (const flags of runs) {
  if (flags === "foreign") Deno.writeTextFileSync(root + "/etc/udev/rules.d/60-mmsb-ptp.rules", "mine");
  const has = (flag) => flags === flag;
  try {
    await clockSetupCommand({ root }).run({ operands: [], rest: [], has, text: () => undefined });
  } catch (error) {
    console.log(error.code, error.message);
  }
  console.log("----");
}`;

/** Runs the command in one process, with one flag after the other; gives what each printed. */
async function setups(root: string, ...flags: string[]): Promise<string[]> {
  const program = `${root}/run.ts`;
  await Deno.writeTextFile(program, RUN);
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "-A", program, root, ...flags],
  }).output();
  const text = new TextDecoder();
  equal(text.decode(stderr), "");
  return text.decode(stdout).split("----\n");
}

Deno.test("mmsb clock setup says what is there and what to do, and writes only with --apply", async () => {
  const root = await Deno.makeTempDir({ prefix: "mmsb-clock-setup-" });
  const rules = `${root}/etc/udev/rules.d`;
  const clocks = `${root}/sys/devices/system/clocksource/clocksource0`;
  try {
    for (const folder of [`${root}/dev`, rules, clocks, `${root}/sys/class/ptp/ptp0`]) {
      await Deno.mkdir(folder, { recursive: true });
    }
    await Deno.writeTextFile(`${root}/dev/ptp0`, "");
    await Deno.writeTextFile(`${root}/sys/class/ptp/ptp0/clock_name`, "hyperv\n");
    await Deno.writeTextFile(`${clocks}/available_clocksource`, "hyperv_clocksource_tsc_page\n");
    const [text] = await setups(root, "");
    match(text, /machine +a virtual machine on Hyper-V/);
    match(text, /ptp0 .*Hyper-V's clock of the host/);
    match(text, /refclock PHC \/dev\/ptp_hyperv poll 3 dpoll -2 offset 0/);
    match(text, /SUBSYSTEM=="ptp"/);
    equal([...Deno.readDirSync(rules)].length, 0);
    const [first, second, report, , third] = await setups(
      ...[root, "apply", "apply", "json", "foreign", "apply"] as [string, ...string[]],
    );
    match(first, /^written +\S*60-mmsb-ptp\.rules/);
    match(second, /^unchanged/);
    const found = JSON.parse(report);
    equal(found.facts.host, "hyperv");
    equal(found.ptp.devices[0].kind.errorNs, 5000);
    ok(!("chronySettings" in found.facts), "Settings of others are not printed");
    match(third, /^usage Cannot write .* another file/);
    equal(await Deno.readTextFile(`${rules}/60-mmsb-ptp.rules`), "mine");
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
