/**
 * Parameters of rules, frozen: a rule that could change them would keep state there.
 */

/**
 * Freezes what JSON gave, all the way down.
 *
 * @param params What JSON gave: without cycles.
 * @returns The same.
 */
export function frozen(params: unknown): unknown {
  const waiting = [params];
  for (const value of waiting) {
    if (typeof value !== "object" || value === null) continue;
    for (const inner of Object.values(Object.freeze(value))) waiting.push(inner);
  }
  return params;
}
