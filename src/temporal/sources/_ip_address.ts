/**
 * Whether a text is a numeric address. The runtime's `node:net` knows it, too, but takes 30 ms to load, which a program
 * that reads the system's clock shall not pay.
 */

const IPV4 = /^(?:25[0-5]|2[0-4]\d|1?\d\d|\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d\d|\d)){3}$/;

/** Whether a text is an IPv4 address: four numbers. */
export function isIPv4(text: string): boolean {
  return IPV4.test(text) && !/(?:^|\.)0\d/.test(text);
}

/** Whether a text is an IPv6 address, also one with a zone: `fe80::1%eth0`. */
export function isIPv6(text: string): boolean {
  const [, bare, tail] =
    /^([\da-f:]+)((?:\d{0,2}\.\d+\.\d+\.\d+)?)(?:%[\da-z.:-]+)?$/i.exec(text) ?? [];
  if (bare === undefined || !bare.includes(":")) return false;
  // The parser of URLs knows the groups.
  return URL.canParse(`http://[${bare}${tail}]/`);
}
