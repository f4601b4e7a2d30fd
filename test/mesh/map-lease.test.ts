import { describe, expect, test } from 'vitest'
import { MapLease } from '../../agent/mesh/map-lease.ts'
import { ManualClock } from '../support/manual-clock.ts'

const LEASE = 60 * 60_000
const MINUTE = 60_000

/** A machine: what is on its disk, its wall clock, and its boots. */
class Machine {
  readonly clock = new ManualClock()
  disk: string | undefined
  boot = 1
  #bootedAt = 0

  agent() {
    const changes: string[] = []
    const lease = new MapLease({
      clock: this.clock,
      bootClock: () => ({ boot: `boot-${this.boot}`, uptimeMs: this.clock.elapsed() - this.#bootedAt }),
      load: () => this.disk,
      save: (text) => {
        this.disk = text
      },
    })
    lease.start(() => changes.push(lease.state))
    return { lease, changes }
  }

  reboot(offMs = 0): void {
    this.clock.advance(offMs)
    this.boot++
    this.#bootedAt = this.clock.elapsed()
  }

  /** The last agent is gone, and its timers with it. */
  crash({ lease }: { readonly lease: MapLease }): void {
    const { disk } = this
    lease.stop()
    this.disk = disk
  }
}

describe('the lease of the map', () => {
  test('ends when the gateway was not heard for as long as it allows, and begins anew whenever it is', () => {
    const machine = new Machine()
    const { lease, changes } = machine.agent()
    expect(lease.state).toBe('never granted')
    lease.heard()
    expect(lease.lasts).toBe(false)
    lease.grant(LEASE)
    for (let i = 0; i < 5; i++) {
      machine.clock.advance(LEASE - 1)
      lease.heard()
    }
    expect(changes).toEqual(['lasts'])
    machine.clock.advance(LEASE - 1)
    expect(lease.lasts).toBe(true)
    machine.clock.advance(1)
    expect(changes).toEqual(['lasts', 'over'])
    lease.grant(LEASE)
    expect(changes).toEqual(['lasts', 'over', 'lasts'])
  })

  test('is not lengthened by a restart, nor by a crash, nor by a reboot', () => {
    for (const end of [
      (machine: Machine, agent: ReturnType<Machine['agent']>) => {
        machine.crash(agent)
        machine.clock.advance(MINUTE)
      },
      (machine: Machine, { lease }: ReturnType<Machine['agent']>) => {
        lease.stop()
        machine.clock.advance(MINUTE)
      },
      (machine: Machine, agent: ReturnType<Machine['agent']>) => {
        machine.crash(agent)
        machine.reboot(MINUTE)
      },
    ]) {
      const machine = new Machine()
      let agent = machine.agent()
      agent.lease.grant(LEASE)
      let lasted = 0
      for (; agent.lease.lasts && lasted < 100; lasted++) {
        machine.clock.advance(9 * MINUTE)
        end(machine, agent)
        agent = machine.agent()
      }
      expect(lasted).toBe(6)
    }
  })

  test('lasts across a reboot for what was left of it', () => {
    const machine = new Machine()
    machine.agent().lease.grant(LEASE)
    machine.reboot(30 * MINUTE)
    const { lease, changes } = machine.agent()
    expect(lease.lasts).toBe(true)
    machine.clock.advance(30 * MINUTE)
    expect(changes).toEqual(['lasts', 'over'])
  })

  test('ends with a clock that was set back across a reboot, also to a time after it was granted', () => {
    const machine = new Machine()
    const agent = machine.agent()
    agent.lease.grant(LEASE)
    machine.clock.advance(50 * MINUTE)
    machine.crash(agent)
    machine.reboot()
    // To ten minutes after the grant: by the wall clock alone 50 minutes would be left.
    machine.clock.skewMs = -40 * MINUTE
    const next = machine.agent()
    expect(next.lease.state).toBe('clock set back')
    next.lease.grant(LEASE)
    expect(next.lease.lasts).toBe(true)
  })

  test('within a boot the wall clock cannot lengthen it', () => {
    const machine = new Machine()
    const { lease } = machine.agent()
    lease.grant(LEASE)
    machine.clock.skewMs = -10 * LEASE
    machine.clock.advance(LEASE)
    expect(lease.state).toBe('over')
    machine.clock.skewMs = 0
    expect(machine.agent().lease.lasts).toBe(false)
  })

  test('is seen to be over at once by whoever asks after the machine slept', () => {
    // Timers stand still while it sleeps; the boot's clock does not.
    let uptimeMs = 0
    const lease = new MapLease({
      clock: new ManualClock(),
      bootClock: () => ({ boot: 'b', uptimeMs }),
      load: () => undefined,
      save: () => {},
    })
    lease.start(() => {})
    lease.grant(LEASE)
    expect(lease.lasts).toBe(true)
    uptimeMs = 2 * LEASE
    expect(lease.state).toBe('over')
  })

  test.each([
    ['nothing', undefined],
    ['nonsense', '{}'],
    ['half a file', '{"version":1,"grantedMs":36'],
  ])('is none with %s on the disk', (_, disk) => {
    const machine = new Machine()
    machine.disk = disk
    expect(machine.agent().lease.state).toBe('never granted')
  })

  test('is noted seldom while the gateway is heard', () => {
    const machine = new Machine()
    let writes = 0
    const lease = new MapLease({
      clock: machine.clock,
      bootClock: () => ({ boot: 'b', uptimeMs: machine.clock.elapsed() }),
      load: () => undefined,
      save: () => void writes++,
    })
    lease.start(() => {})
    lease.grant(7 * 24 * LEASE)
    for (let i = 0; i < 240; i++) {
      machine.clock.advance(15_000)
      lease.heard()
    }
    expect(writes).toBeLessThanOrEqual(8)
  })
})
