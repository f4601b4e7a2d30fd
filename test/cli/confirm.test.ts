/** What asks before it does: only the word that was asked for goes on. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ownGateway } from '../support/own-gateway.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { hasTerminal, inTerminal } from '../support/terminal.ts'

const gateway = ownGateway()
const { run } = gateway
const asked = 'to go on:'
const type = (args: readonly string[], answer: string) =>
  inTerminal(args, { env: gateway.env, asked, answer })

describe.skipIf(!hasTerminal)('somebody at a terminal', () => {
  test('types the name of what is removed, and nothing else will do', async () => {
    await run(['secret', 'set', 'kept'], 'x')
    for (const answer of ['y', 'yes', 'Kept', '']) {
      const { code, shown } = await type(['secret', 'purge', 'kept'], answer)
      expect(shown).toContain('This removes the secret kept for good. Type kept to go on:')
      expect([answer, code, shown.includes('E_CONFIRMATION_REFUSED')]).toEqual([answer, 10, true])
    }
    expect((await run(['secret', 'get', 'kept'])).stdout).toBe('x')
    expect(await type(['secret', 'purge', 'kept'], 'kept')).toMatchObject({ code: 0 })
    expect((await run(['secret', 'get', 'kept'])).code).toBe(5)
  })

  test('types how many values are exported, and they go to a file', async () => {
    await run(['secret', 'set', 'out/a'], '1')
    await run(['secret', 'set', 'out/b'], '2')
    const file = join(temporaryDirectory(), 'out.env')
    const args = ['secret', 'export', 'out', '--file', file]
    expect(await type(args, 'yes')).toMatchObject({ code: 10 })
    expect(statSync(file, { throwIfNoEntry: false })).toBeUndefined()
    expect(await type(args, 'export 2')).toMatchObject({ code: 0 })
    expect(readFileSync(file, 'utf8')).toBe("A='1'\nB='2'\n")
  })

  test('is shown no values, and no age file, unless that was said', async () => {
    await run(['secret', 'set', 'out/c'], 'value-of-c')
    const exported = await type(['secret', 'export', 'out'], '')
    expect([exported.code, exported.shown]).toEqual([2, expect.stringContaining('E_EXPORT_OUTPUT')])
    expect(exported.shown).not.toContain('value-of-c')
    const told = await type(['secret', 'export', 'out', '--yes'], '')
    expect([told.code, told.shown]).toEqual([0, expect.stringContaining('value-of-c')])
    const file = await type(['secret', 'get', 'out/c', '--ciphertext'], '')
    expect([file.code, file.shown]).toEqual([2, expect.stringContaining('not for a terminal')])
  })
})
