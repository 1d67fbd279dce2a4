/**
 * A process that opens a directory, says what came of it in one line of JSON, and, where it is told so, keeps it open
 * until it is killed: `_opening_child.ts DIR [read | write | hold]`.
 */

import { isMmsbError } from "../src/base/mod.ts";
import { StateBus } from "../src/bus/mod.ts";

/** What it says. */
export interface OpeningAnswer {
  /** `open`, the code of an `MmsbError`, or another error's name. */
  readonly outcome: string;
  readonly message: string;
}

const [dir, mode = "write"] = Deno.args;

let answer: OpeningAnswer, bus: StateBus | undefined;
try {
  bus = await StateBus.open({ dir, readOnly: mode === "read" });
  answer = { outcome: "open", message: "" };
} catch (error) {
  answer = isMmsbError(error)
    ? { outcome: error.code, message: error.message }
    : { outcome: (error as Error).name, message: (error as Error).message };
}
console.log(JSON.stringify(answer));
if (mode === "hold") setInterval(() => {}, 60_000);
else await bus?.close();
