/** What the tests of the command share: a folder of their own, and the command run in it as it is published. */

import { StateBus } from "../bus/mod.ts";

/** The command's module. */
export const MAIN = new URL("./main.ts", import.meta.url).href;

/** What a program said, and how it ended. */
export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A folder that is gone when the tests end. */
export function testFolder(prefix: string): string {
  const folder = Deno.makeTempDirSync({ prefix });
  globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  return folder;
}

/** Runs a program in a folder, without colour. */
export async function runIn(
  cwd: string,
  args: string[],
  program = Deno.execPath(),
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const output = await new Deno.Command(program, {
    args,
    cwd,
    stdin: "null",
    env: { NO_COLOR: "1", ...env },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code: output.code, out: text(output.stdout), err: text(output.stderr) };
}

/** Runs a command line of `mmsb` in a folder, its words set apart by blanks. */
export async function mmsbIn(
  cwd: string,
  line: string,
  env?: Readonly<Record<string, string>>,
): Promise<Outcome> {
  return await runIn(cwd, ["run", "-A", MAIN, ...line.split(" ")], Deno.execPath(), env);
}

/** Makes a directory of 12 ticks, closed. */
export async function makeBoard(dir: string): Promise<string> {
  await using bus = await StateBus.open({ dir });
  const board = bus.createPage({ size: 64, name: "board" });
  for (let tick = 0; tick < 12; tick++) {
    const intent = `step ${tick}`;
    await bus.commit(() => board.combine("i32", "add", 4, tick, { source: "feed-a", intent }));
  }
  return dir;
}
