/**
 * A secret of the sealed class, through its whole life with the real programs: written, read by a node, rotated, resealed for another node.
 * The gateway has nothing of it, neither on disk, nor in what it prints, nor in its memory. And what it has, stock age opens with a node's key.
 */
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { ageIdentityOf } from '../../host/age.ts'
import { claw, startGateway } from '../support/claw.ts'
import { Clawnode, clawnode } from '../support/clawnode.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { filesBelow, foundIn, textForms } from './canary-scan.ts'
import { familyOf, inMemory } from './process-memory.ts'

const NAME = 'sealed/one'

it('a sealed secret is in no part of the gateway, and stock age opens what is there', async () => {
  const home = temporaryDirectory()
  const gatewayHome = join(home, 'gateway')
  const running = await startGateway(gatewayHome)
  const printed: string[] = []
  running.process.stderr?.on('data', (chunk) => printed.push(String(chunk)))
  const asOwner = async (args: readonly string[], input = '') => {
    const result = await claw(args, { env: running.env, input })
    expect([args, result.stderr, result.code]).toEqual([args, expect.anything(), 0])
    return result.stdout
  }

  const token = (await asOwner(['token', 'create', '--uses', '2'])).trim()
  const tokenFile = join(home, 'join.token')
  writeFileSync(tokenFile, token, { mode: 0o600 })
  const directories = ['a', 'b'].map((name) => join(home, name))
  const [a = '', b = ''] = directories
  for (const [index, directory] of directories.entries()) {
    const name = index === 0 ? 'a' : 'b'
    const args = ['join', '--gateway', running.url, '--ca', running.ca, '--dir', directory, '--name', name]
    expect((await clawnode([...args, '--token-file', tokenFile])).code).toBe(0)
  }
  const agent = new Clawnode(['run', '--no-mesh', '--dir', a])
  onTestFinished(async () => {
    agent.child.kill('SIGTERM')
    await agent.ended
  })
  await agent.prints('session up')

  const hash = 'printf %s "$V" | sha256sum'
  const readBy = async (directory: string) =>
    (await clawnode(['exec', '--dir', directory, '--secret', `V=${NAME}`, '--', 'sh', '-c', hash])).stdout
  const sha256 = (value: string) => createHash('sha256').update(value).digest('hex')
  const [first, second] = [
    `first ${randomBytes(30).toString('base64')}`,
    `second ${randomBytes(30).toString('base64')}`,
  ]
  // What the gateway may know, so that the search is known to find something.
  const open = `open ${randomBytes(30).toString('base64url')}`
  const control = `control.${randomBytes(12).toString('hex')}`
  const needles = [first, second].flatMap(textForms)
  const family = familyOf(running.process.pid ?? 0)
  expect(family.length).toBeGreaterThan(1)
  const searched = (): readonly Buffer[] =>
    family.flatMap((pid) => inMemory(pid, [...needles, Buffer.from(control)]))

  await asOwner(['secret', 'set', control, '--allow-node', 'a'], open)
  await asOwner(['secret', 'set', NAME, '--sealed', '--allow-node', 'a', '--yes'], first)
  expect(await readBy(a)).toContain(sha256(first))
  await asOwner(['secret', 'rotate', NAME, '--overlap', '1h', '--yes'], second)
  expect(await readBy(a)).toContain(sha256(second))
  expect((await clawnode(['exec', '--dir', b, '--secret', `V=${NAME}`, '--', 'true'])).code).toBe(125)
  await asOwner(['secret', 'allow', NAME, '--node', 'b'])
  await asOwner(['secret', 'reseal', NAME, '--yes'])
  expect(await readBy(b)).toContain(sha256(second))
  expect(await asOwner(['secret', 'get', NAME])).toBe(second)

  const identity = join(home, 'b.identity')
  using key = SecretBytes.take(Buffer.from(readFileSync(join(b, 'sealing.key'), 'utf8').trim(), 'base64'))
  writeFileSync(identity, `${ageIdentityOf(key)}\n`, { mode: 0o600 })
  const ciphertext = join(home, 'one.age')
  const exported = await claw(['secret', 'get', NAME, '--ciphertext'], { env: running.env })
  writeFileSync(ciphertext, exported.bytes)
  const opened = execFileSync('age', ['--decrypt', '--identity', identity, ciphertext])
  expect(opened.includes(Buffer.from(second))).toBe(true)

  expect(searched()).toEqual([Buffer.from(control)])
  await running.end('SIGTERM')
  const secrets = { first: textForms(first), second: textForms(second) }
  expect(foundIn(printed.join(''), secrets)).toEqual([])
  const files = filesBelow(gatewayHome)
  expect(
    files.filter((path) => foundIn(readFileSync(path), { control: [Buffer.from(control)] }).length > 0),
  ).not.toEqual([])
  expect(files.filter((path) => foundIn(readFileSync(path), secrets).length > 0)).toEqual([])
})
