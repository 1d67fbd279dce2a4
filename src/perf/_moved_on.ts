/**
 * Whether a directory that was looked at lost files meanwhile, as its writer merged old ticks or let go of old
 * checkpoints and segments.
 *
 * A validator that began with files which are not there any more may find damage where there is none. New files do not
 * matter: nobody was to read them yet.
 *
 * Cost: a listing of the directory.
 */

import { FileStorage, META_PATH, readMeta } from "../log/mod.ts";
import { MmsbError } from "../base/mod.ts";

const FOLDERS = /^(lane-\d+|checkpoints)$/;

/** What was there at a moment. */
export class FilesSeen {
  readonly #storage: FileStorage;
  readonly #files: ReadonlySet<string>;
  readonly #base: string;

  /** @param directory The directory of a bus. */
  constructor(directory: string) {
    this.#storage = new FileStorage(directory);
    this.#files = this.#list();
    this.#base = this.#baseNow();
  }

  /** Whether any of it is gone. */
  get areGone(): boolean {
    const now = this.#list();
    return this.#baseNow() !== this.#base || [...this.#files].some((file) => !now.has(file));
  }

  #list(): Set<string> {
    return this.#orNothing(() => {
      const folders = this.#storage.list("").filter((name) => FOLDERS.test(name));
      return new Set(folders.flatMap((folder) => {
        const names = this.#storage.list(folder).filter((name) => /\.(log|ckpt)$/.test(name));
        return names.map((name) => `${folder}/${name}`);
      }));
    }) ?? new Set();
  }

  /** Where the log begins: files that were merged keep their names. */
  #baseNow(): string {
    return this.#orNothing(() => {
      if (!this.#storage.exists(META_PATH)) return "";
      const { base, pending } = readMeta(this.#storage) ?? {};
      return JSON.stringify([base, pending]);
    }) ?? "";
  }

  #orNothing<T>(look: () => T): T | undefined {
    try {
      return look();
    } catch (error) {
      if (error instanceof MmsbError) return undefined;
      throw error;
    }
  }
}
