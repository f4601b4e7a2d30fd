/** A gateway that calls a sealed secret managed, as one does that was taken over: no command sends it the value in clear. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { claw } from '../support/claw.ts'
import { ownGateway } from '../support/own-gateway.ts'

const gateway = ownGateway()
const { run, json } = gateway
/** Somebody at the gateway, of whose doing the owner's own machine knows nothing. */
const behindOurBack = (args: readonly string[], input = '') =>
  claw(args, { env: { ...gateway.env, CLAW_HOME: join(gateway.home, 'other') }, input })

const NEXT = 'the next value of app/key'

function importFile(): string {
  const path = join(gateway.home, 'app.env')
  writeFileSync(path, `KEY='${NEXT}'\n`, { mode: 0o600 })
  return path
}

test('a secret that we have sealed is made a managed one', async () => {
  expect(await run(['secret', 'set', 'app/key', '--sealed', '--yes'], 'sealed')).toMatchObject({ code: 0 })
  expect(await behindOurBack(['secret', 'purge', 'app/key', '--yes'])).toMatchObject({ code: 0 })
  expect(await behindOurBack(['secret', 'set', 'app/key'], 'theirs')).toMatchObject({ code: 0 })
})

test.each([
  ['import --overwrite', () => run(['secret', 'import', importFile(), '--prefix', 'app', '--overwrite'])],
  ['set', () => run(['secret', 'set', 'app/key'], NEXT)],
  ['rotate', () => run(['secret', 'rotate', 'app/key'], NEXT)],
])('secret %s sends it nothing', async (_, write) => {
  const refused = await write()
  expect(await behindOurBack(['secret', 'get', 'app/key'])).toMatchObject({ stdout: 'theirs' })
  expect(refused).toMatchObject({ code: 6, stderr: expect.stringContaining('E_SECRET_WAS_SEALED') })
})

test('secret get does not take their value for ours, but on our word', async () => {
  const refused = await run(['secret', 'get', 'app/key'])
  expect(refused).toMatchObject({
    code: 6,
    stdout: '',
    stderr: expect.stringContaining('E_SECRET_WAS_SEALED'),
  })
  expect(await run(['secret', 'get', 'app/key', '--managed'])).toMatchObject({ code: 0, stdout: 'theirs' })
})

test('import takes it on its owner’s word', async () => {
  const flags = ['--prefix', 'app', '--overwrite', '--managed']
  expect(await run(['secret', 'import', importFile(), ...flags])).toMatchObject({ code: 0 })
  expect(await json(['secret', 'get', 'app/key'])).toMatchObject({ class: 'managed', value: NEXT })
})

test('import --sealed is about secrets that are new: a managed one stays what it is', async () => {
  writeFileSync(join(gateway.home, 'app.env'), "KEY='third'\nOTHER='new'\n", { mode: 0o600 })
  const flags = ['--prefix', 'app', '--overwrite', '--sealed', '--yes']
  expect(await run(['secret', 'import', join(gateway.home, 'app.env'), ...flags])).toMatchObject({ code: 0 })
  expect(await json(['secret', 'get', 'app/key'])).toMatchObject({ class: 'managed', value: 'third' })
  expect(await json(['secret', 'get', 'app/other'])).toMatchObject({ class: 'sealed', value: 'new' })
})
