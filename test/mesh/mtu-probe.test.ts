import { expect, test } from 'vitest'
import { openMtuProbe } from '../../agent/mesh/mtu-probe.ts'
import { Ipv4 } from '../../protocol/ids.ts'

const [OWN, SILENT] = [Ipv4.parse('127.77.0.1'), Ipv4.parse('127.77.0.2')]

test('an agent that stops while it asks hears nothing, now and at the next question', async () => {
  const probe = await openMtuProbe(OWN)
  const asked = probe.ask(SILENT, [1_000, 100])
  probe.close()
  expect(await asked).toEqual(new Set())
  expect(await probe.ask(SILENT, [1_000, 100])).toEqual(new Set())
})
