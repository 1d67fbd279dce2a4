/** One part of the crash enumeration, on a thread of its own. */

import { enumerateCrashes, type EnumerationOptions } from "./crash_enumeration.ts";

/** What comes back: the counts, or why it ended. */
export type EnumerationResult =
  | { readonly counts: Awaited<ReturnType<typeof enumerateCrashes>> }
  | { readonly error: string };

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<EnumerationOptions>) => void) | null;
  postMessage(result: EnumerationResult): void;
};

scope.onmessage = async ({ data }) => {
  try {
    scope.postMessage({ counts: await enumerateCrashes(data) });
  } catch (error) {
    scope.postMessage({
      error: error instanceof Error ? error.stack ?? error.message : `${error}`,
    });
  }
};
