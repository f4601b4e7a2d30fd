/** What the real gateway decides over a node reaches the real agent, whether it is told in its session or by a signed refusal. */
import { chmodSync, cpSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { claw, type RunningGateway, startGateway } from '../support/claw.ts'
import { Clawnode, clawnode } from '../support/clawnode.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const run = (directory: string) => new Clawnode(['run', '--dir', directory, '--no-mesh'])

async function joined(gateway: RunningGateway, directory: string, name: string): Promise<string> {
  const { stdout: token } = await claw(['token', 'create'], { env: gateway.env })
  const args = ['join', '--gateway', gateway.url, '--token-file', '-', '--dir', directory, '--name', name]
  expect(await clawnode(args, { input: token })).toMatchObject({ code: 0, stderr: '' })
  return directory
}

async function stop(agent: Clawnode): Promise<void> {
  agent.child.kill('SIGTERM')
  expect(await agent.ended).toMatchObject({ code: 0 })
}

const sessionOf = async (directory: string): Promise<unknown> => {
  const { stdout } = await clawnode(['status', '--dir', directory, '-o', 'json'])
  const { session, problem } = JSON.parse(stdout) as { session: string; problem: { code: string } | null }
  return { session, problem: problem?.code }
}

/** The line that says how the attempt ended, not one of what the gateway has said before. */
const REPORT = '"code":"E_NODE_QUARANTINED","why"'
const HELD = { session: 'quarantined', problem: 'E_NODE_QUARANTINED' }

test('removal ends the agent with 194, quarantine holds it, connected or not, and also a clone that registers', async () => {
  const home = temporaryDirectory()
  const gateway = await startGateway(join(home, 'gateway'))
  const asOwner = async (...args: string[]) =>
    expect(await claw(['node', ...args], { env: gateway.env })).toMatchObject({ code: 0 })

  const directory = await joined(gateway, join(home, 'node'), 'node-a')
  const first = run(directory)
  await first.prints('session up')
  await asOwner('quarantine', 'node-a')
  await first.prints(REPORT)
  expect(await sessionOf(directory)).toEqual(HELD)
  await stop(first)

  const held = run(directory)
  await held.prints(REPORT)
  expect(await sessionOf(directory)).toEqual(HELD)
  await stop(held)
  const args = ['exec', '--dir', directory, '--secret', 'S=any', '--', 'true']
  expect(await clawnode(args)).toMatchObject({
    code: 125,
    stderr: expect.stringContaining('E_NODE_QUARANTINED'),
  })

  // The clone is found out while it registers, before the gateway has proved itself: what holds it is the refusal of its next upgrade.
  await asOwner('release', 'node-a')
  const clone = join(home, 'clone')
  cpSync(directory, clone, { recursive: true })
  chmodSync(clone, 0o700)
  const original = run(directory)
  await original.prints('session up')
  const copy = run(clone)
  await copy.prints(REPORT)
  expect(copy.stderrLines.join('\n')).toContain('before the gateway had proved itself')
  await original.prints(REPORT)
  expect(await sessionOf(clone)).toEqual(HELD)
  await stop(copy)
  await stop(original)

  await asOwner('release', 'node-a')
  const connected = run(directory)
  await connected.prints('session up')
  await asOwner('rm', 'node-a', '--yes')
  expect(await connected.ended).toEqual({ code: 194, signal: null })
  expect(await run(directory).ended).toEqual({ code: 194, signal: null })
})
