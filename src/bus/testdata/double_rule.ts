/** A module of rules, as programs give them by URL. */

import { defineRule, type Rule } from "../../propagation/mod.ts";

/** Twice the first word of its input. */
const double: Rule = defineRule({
  version: 3,
  compute: (ctx) => ctx.output(0).setInt32(0, 2 * ctx.input(0).getInt32(0)),
});

/** No rule. */
export const nothing = 1;

export default double;
