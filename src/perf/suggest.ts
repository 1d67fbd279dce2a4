/**
 * The word that was meant: the nearest of a few known ones, for messages about misspelt ones.
 *
 * Distance is the number of letters to add, drop, change or swap with a neighbour (optimal string
 * alignment). A word further away than a third of its length was not meant. Cost: a table of
 * letters × letters per known word; it runs once, before an error.
 */

/**
 * Finds the known word that is nearest.
 *
 * @param word What was written.
 * @param known The words that would be right.
 * @returns The nearest one, the first of equals; nothing where none is near.
 */
export function suggest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let distanceMin = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = distanceOf(word.toLowerCase(), candidate.toLowerCase());
    if (distance < distanceMin) [best, distanceMin] = [candidate, distance];
  }
  return best;
}

function distanceOf(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, index) => index)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = rows[i - 1][j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      row[j] = Math.min(change, rows[i - 1][j] + 1, row[j - 1] + 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) row[j] = Math.min(row[j], rows[i - 2][j - 2] + 1);
    }
    rows.push(row);
  }
  return rows[a.length][b.length];
}
