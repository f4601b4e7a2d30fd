/**
 * What this isolate has done since it started: the figures behind /metrics, and the proof that a heartbeat costs nothing.
 *
 * Kept at module scope on purpose: an object's fields go with hibernation, the isolate's do not. Several objects of one isolate share
 * these counters, which is why each reading names the isolate and a reader counts each isolate once.
 */
const counters = {
  object_wakeups_by_frame: 0,
  object_wakeups_by_close: 0,
  object_wakeups_by_sweep: 0,
  session_upgrades: 0,
  sessions_registered: 0,
  frames_refused: 0,
  requests_by_session: 0,
  signals_routed: 0,
  signals_refused: 0,
  mesh_frames_sent: 0,
  mesh_bytes_sent: 0,
  mesh_snapshots_sent: 0,
  mesh_snapshots_built: 0,
  mesh_deltas_encoded: 0,
  mesh_acks: 0,
  mesh_divergences: 0,
  relay_upgrades: 0,
  relay_packets_forwarded: 0,
  relay_bytes_forwarded: 0,
  relay_packets_dropped: 0,
  rows_read: 0,
  rows_written: 0,
}

export type CounterName = keyof typeof counters
export type Counters = Readonly<Record<CounterName, number>>

export function count(name: CounterName, by = 1): void {
  counters[name] += by
}

/** Drawn on first use: the platform forbids randomness at module scope. */
let isolate: string | undefined

export function readCounters(): { readonly isolate: string; readonly counters: Counters } {
  isolate ??= crypto.randomUUID()
  return { isolate, counters: { ...counters } }
}
