/**
 * The wire protocol's version: one integer, raised whenever a peer may notice. The gateway accepts this one and the one before it.
 *
 * History:
 * - 1, 2026-11-22: enrolment by signed request, session frames `register`, `telemetry`, `signal`, `mesh_resync`;
 *   since 2026-11-24 answers to signed requests are signed, and an agent believes no others.
 * - 2, 2026-11-30: mesh policy (`class` of a peer, `rules` of the receiver), approved routes, the next WireGuard key, `mesh_ack`; STUN servers,
 *   relays and the lease of the map in the settings. Version 1 was in no release, and an agent of it could not hold to a policy: it is refused.
 * - 3, 2026-11-30: signed requests over the session (`request`, `answer`).
 * - 4, 2026-11-30: a delivered secret has a sequence number. Earlier versions were in no release, and open none of it: they are refused.
 */
export const PROTOCOL_VERSION = 4
export const OLDEST_SUPPORTED_PROTOCOL_VERSION = 4
