/**
 * Finding pages: handles by id and by name, in the bus's own pages or, of an attached bus, in those of
 * the writer as one tick left them.
 */

import { checkInteger, checkType, MmsbError, PAGE_ID_MAX } from "../base/mod.ts";
import { attachedPages } from "./_attached.ts";
import { AttachedPage, rowOf } from "./attached_page.ts";
import { Page, type PageHost } from "./page.ts";

/**
 * The handle of a page.
 *
 * @throws {MmsbError} `usage` for what is no id, `invalid-handle` where there is no such page.
 */
export function pageOfId(host: PageHost, id: number): Page {
  checkInteger("page id", id, 1, PAGE_ID_MAX);
  const { attached } = host;
  const row = attached === undefined
    ? host.store.table.rowOf(id)
    : attached.read((store) => rowOf(store, id));
  if (row === 0) {
    throw new MmsbError(
      "invalid-handle",
      `Cannot find page ${id}: it never was, or was deleted`,
      { values: { page: id } },
    );
  }
  return attached === undefined ? new Page(host, id, row) : new AttachedPage(host, attached, id);
}

/** The page of a name, `undefined` where there is none. */
export function pageOfName(host: PageHost, name: string): Page | undefined {
  checkType("name", name, "string");
  const { attached } = host;
  if (attached === undefined) {
    const id = host.store.find(name);
    return id === 0 ? undefined : pageOfId(host, id);
  }
  const id = attached.read((store) => {
    const found = store.find(name);
    return found !== 0 && rowOf(store, found) !== 0 ? found : 0;
  });
  return id === 0 ? undefined : new AttachedPage(host, attached, id);
}

/** Handles of all pages. */
export function* pagesOf(host: PageHost): Generator<Page> {
  const { attached, store } = host;
  if (attached !== undefined) {
    yield* attachedPages(host, attached);
    return;
  }
  for (const row of store.table.rows()) yield new Page(host, store.table.ids[row], row);
}
