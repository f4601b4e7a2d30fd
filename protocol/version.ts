/**
 * The wire protocol's version: one integer, raised whenever a peer may notice. The gateway accepts this one and the one before it.
 *
 * History:
 * - 1, 2026-11-22: enrolment by signed request, session frames `register`, `telemetry`, `signal`, `mesh_resync`;
 *   since 2026-11-24 answers to signed requests are signed, and an agent believes no others.
 */
export const PROTOCOL_VERSION = 1
export const OLDEST_SUPPORTED_PROTOCOL_VERSION = 1
