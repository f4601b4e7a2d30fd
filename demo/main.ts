/** `npm run demo`: a gateway and three machines as network namespaces, and what happens to them, as it is seen. */

import { ensureHostPackages } from '../scripts/host-packages.ts'
import { canMakeNamespaces } from '../test/support/netns.ts'
import { Lab } from './lab.ts'
import { fleetSteps } from './steps.ts'

if (!canMakeNamespaces) {
  process.stderr.write('the demo makes network namespaces: it needs root and /dev/net/tun\n')
  process.exit(78)
}
ensureHostPackages()
const lab = new Lab()
// Ctrl-C ends the demo at the end of the step, so that everything is put away.
let interrupted = false
process.on('SIGINT', () => {
  interrupted = true
})
try {
  for (const [index, step] of fleetSteps(lab).entries()) {
    if (interrupted) break
    process.stdout.write(`\n${index + 1}. ${step.title}\n`)
    const begun = performance.now()
    for (const line of await step.run()) process.stdout.write(`   ${line}\n`)
    process.stdout.write(`   (${((performance.now() - begun) / 1000).toFixed(1)} s)\n`)
  }
} catch (error) {
  process.stdout.write(`   FAILED: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
} finally {
  await lab.destroy()
}
