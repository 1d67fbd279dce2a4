/** Numeric addresses: as `node:net` has them. */
import { equal } from "node:assert/strict";
import * as net from "node:net";
import fc from "fast-check";
import { isIPv4, isIPv6 } from "./_ip_address.ts";

const texts = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.ipV4Extended(),
  fc.string(),
  fc.stringMatching(/^[0-9a-f:.%]{0,24}$/),
  fc.tuple(fc.ipV6(), fc.constantFrom("%eth0", "%", "%1", "x", " ", "]", "/64")).map((two) =>
    two.join("")
  ),
);

Deno.test("isIPv4() and isIPv6() judge as node:net does", () => {
  for (
    const text of [
      ...[
        "",
        "1.2.3.4",
        "01.2.3.4",
        "1.2.3",
        "256.1.1.1",
        "1.2.3.4 ",
        "0x1.2.3.4",
        "::",
        "::1",
        "[::1]",
      ],
      ...[
        "::ffff:1.2.3.4",
        "::1.2.3.256",
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7",
        "fe80::1%eth0",
        "::%",
      ],
      ...["1::2::3", "12345::", "::1.2.3", "::ffff:01.2.3.4", "localhost", "1:2:3:4:5:6:1.2.3.4"],
    ]
  ) {
    equal(isIPv4(text), net.isIPv4(text), `${JSON.stringify(text)} as IPv4`);
    equal(isIPv6(text), net.isIPv6(text), `${JSON.stringify(text)} as IPv6`);
  }
  fc.assert(
    fc.property(texts, (text) => {
      equal(isIPv4(text), net.isIPv4(text), text);
      equal(isIPv6(text), net.isIPv6(text), text);
    }),
    { numRuns: 2000 },
  );
});
