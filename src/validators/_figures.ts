/**
 * Small things that several validators need to measure and to say what they measured.
 */

/** A number as people read it. */
export function text(value: number): string {
  return value.toLocaleString("en");
}

/** Milliseconds as people read them. */
export function milliseconds(ms: number): string {
  return `${ms.toFixed(ms < 1 ? 3 : 2)} ms`;
}

/** A quantile of numbers in any order: the smallest of which at least that share is no larger. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

/** Does something in a new folder, which is gone afterwards. */
export async function withFolder<T>(
  name: string,
  use: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = await Deno.makeTempDir({ prefix: `mmsb-${name}-` });
  try {
    return await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
