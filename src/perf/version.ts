/**
 * The version of the package, from the one place where it is written. A JSON module, so that it is
 * there when the package runs from a registry and there is no file to read.
 */

import config from "../../deno.json" with { type: "json" };

/** Version of MMSB, as in `deno.json`. */
export const VERSION: string = config.version;
