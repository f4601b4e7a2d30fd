import { expect, test } from 'vitest'
import { claw, type Finished } from '../support/claw.ts'
import { joinNode } from '../support/join-node.ts'
import { ownGateway } from '../support/own-gateway.ts'

const gateway = ownGateway()

const run = (...args: readonly string[]): Promise<Finished> => gateway.run(args)
const tag = (...words: readonly string[]): Promise<Finished> => run('node', 'tag', 'gpu-1', ...words)

async function tags(): Promise<readonly string[]> {
  return JSON.parse((await run('node', 'show', 'gpu-1', '-o', 'json')).stdout).tags
}

test('tag gives, takes away and replaces', async () => {
  await joinNode(gateway, 'gpu-1', 'joined')

  expect(await tag('+training', '-joined', '+zone:eu.1')).toMatchObject({
    code: 0,
    stdout: '',
    stderr: 'node gpu-1 has the tags training, zone:eu.1\n',
  })
  expect((await tag('-o', '-training', '+o')).stderr).toContain('either given or taken away')
  expect((await tag('+o', '+h')).code).toBe(0)
  expect((await tag('-o', '--gateway', gateway.running.url)).stderr).toBe(
    'node gpu-1 has the tags training, zone:eu.1, h\n',
  )
  expect((await tag('--set', 'only')).code).toBe(0)
  expect(await tags()).toEqual(['only'])
  expect((await tag('-only')).stderr).toBe('node gpu-1 has no tags\n')
})

test.each([
  [[], 'no tag is named'],
  [['+a', '--set', 'b'], '--set leaves nothing'],
  [['+a', '-a'], 'either given or taken away'],
  [['--set', 'Not A Tag'], 'each tag is'],
  [['+Upper'], '+Upper'],
  [['bare'], 'bare'],
])('tag %j is refused before anything is asked', async (words, message) => {
  const asked = await claw(['node', 'tag', 'gpu-1', ...words], {
    env: { ...gateway.running.env, CLAW_GATEWAY: 'https://127.0.0.1:1' },
  })
  expect(asked).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(message) })
})
