/**
 * Sentences in lines of at most 100 columns, as a terminal shows them, behind a name or a sign.
 *
 * What comes from elsewhere (a server's name, a driver's) is escaped, so that it cannot steer a terminal.
 */
import { escaped } from "./_log_text.ts";

const COLUMNS = 100;

/**
 * Words behind a beginning, in lines that are not too long.
 *
 * @param start What stands before the first word.
 * @param text The words.
 * @param indent Columns before the words of the following lines.
 * @returns The lines.
 */
export function wrapped(start: string, text: string, indent: number): string[] {
  const lines: string[] = [];
  let line = start, isEmpty = true;
  for (const word of escaped(text).split(" ")) {
    if (!isEmpty && line.length + 1 + word.length > COLUMNS) {
      lines.push(line);
      line = " ".repeat(indent);
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line];
}

/**
 * A name, and what it is behind it.
 *
 * @param name The name; it takes as many columns as the words are indented by.
 * @param text The words.
 * @param indent The columns.
 * @returns The lines.
 */
export function field(name: string, text: string, indent: number): string[] {
  return wrapped(name.length < indent ? name.padEnd(indent) : `${name} `, text, indent);
}
