/**
 * Small files of the system as text: what cannot be read, or may not be without asking the user, is empty.
 *
 * The kernel's files in `/sys` and `/proc` need all of Deno's permissions, so that less is known without them.
 */
import { readFileSync, readlinkSync } from "node:fs";
import { isGranted } from "./_platform.ts";

const CHARACTERS_MAX = 65_536;

/** A small file's text without the end of its line; empty where it cannot be read. */
export function textOf(path: string): string {
  if (!isGranted({ name: "read", path })) return "";
  try {
    return readFileSync(path, "utf8").slice(0, CHARACTERS_MAX).trim();
  } catch {
    return "";
  }
}

/** Last name of what a link leads to; empty where it cannot be read. */
export function linkOf(path: string): string {
  if (!isGranted({ name: "read", path })) return "";
  try {
    return readlinkSync(path).split("/").at(-1) ?? "";
  } catch {
    return "";
  }
}
