/** The fault catalogue in docs/validation.md is the one that the validators plant from. */

import assert from "node:assert/strict";
import { CATALOGUE } from "../src/validators/catalogue.ts";
import { DOCUMENT, withCatalogue } from "./fault_catalogue.ts";

Deno.test("docs/validation.md has each fault of the catalogue as the catalogue has it", async () => {
  const document = await Deno.readTextFile(DOCUMENT);
  const renew = "write it anew: deno run -A tools/fault_catalogue.ts";
  for (const { id, title } of CATALOGUE) {
    const text = `${title} (\`${id}\`)`;
    assert(document.replaceAll(/\n {2}/g, " ").includes(text), `${text} is missing: ${renew}`);
  }
  assert.equal(document, withCatalogue(document), renew);
});
