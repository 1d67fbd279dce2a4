/** A rule from a module, for tests: copies a word, sets a parameter, and counts its runs. */

import { defineRule } from "../rule.ts";

export default defineRule({
  version: 4,
  compute(ctx) {
    const out = ctx.output(0);
    out.setInt32(8, out.getInt32(8) + 1);
    out.setInt32(4, (ctx.params as { plus: number }).plus);
    out.setInt32(0, ctx.input(0).getInt32(0));
  },
});
