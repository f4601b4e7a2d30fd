/** The life of a small fleet, as the demo shows it: real programs, real WireGuard, each machine a network namespace. */
import { afterAll, describe, it } from 'vitest'
import { Lab } from '../../demo/lab.ts'
import { fleetSteps } from '../../demo/steps.ts'
import { canMakeNamespaces } from '../support/netns.ts'

describe.skipIf(!canMakeNamespaces)('a fleet of three machines (needs root and /dev/net/tun)', () => {
  const lab = canMakeNamespaces ? new Lab() : undefined
  const steps = lab === undefined ? [] : fleetSteps(lab)
  afterAll(() => lab?.destroy())

  let failed = false
  it.each(steps)('$title', async ({ run }) => {
    // Each step stands on the one before: after a failure the rest would only say so again.
    if (failed) throw new Error('an earlier step failed')
    failed = true
    await run()
    failed = false
  })

  if (lab === undefined) it('lives through its steps', () => undefined)
})
