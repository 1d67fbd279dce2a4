/** What a server's state is for people and monitors. */
import type { SntpServer } from "./_sntp_server.ts";
import type { SntpServerStatus } from "./sntp_server_status.ts";

/**
 * How a server does.
 *
 * @param server It.
 * @param offsetNs Its time less the clock's, ns.
 * @returns What there is to say.
 */
export function serverStatus(server: SntpServer, offsetNs: number): SntpServerStatus {
  const { filter, name, state, reason, reach, foreign } = server;
  const sample = filter.newest;
  return {
    name,
    address: server.address ?? "",
    state,
    reason,
    reach,
    stratum: sample?.stratum ?? NaN,
    referenceId: sample?.referenceId ?? "",
    offsetNs: sample === undefined ? NaN : offsetNs,
    delayNs: sample?.delayNs ?? NaN,
    rootDistanceNs: sample === undefined ? NaN : sample.rootDelayNs + sample.rootDispersionNs,
    jitterNs: filter.jitterNs,
    foreign,
  };
}
