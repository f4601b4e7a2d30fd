/** A lease that is kept nowhere. */
import type { Clock } from '../../agent/clock.ts'
import { MapLease } from '../../agent/mesh/map-lease.ts'

export const memoryLease = (clock: Clock): MapLease =>
  new MapLease({
    clock,
    bootClock: () => ({ boot: 'this', uptimeMs: clock.elapsed() }),
    load: () => undefined,
    save: () => {},
  })
