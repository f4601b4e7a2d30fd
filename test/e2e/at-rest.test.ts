/** What a thief of the disk finds: no byte of a secret, of the master key, or of any token, in any form, in any stored file. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { EmbeddedGateway } from '../../bench/embedded.ts'
import { SimulatedNode } from '../../bench/simulated-node.ts'

let gateway: EmbeddedGateway
beforeAll(async () => {
  gateway = await EmbeddedGateway.start()
})
afterAll(() => gateway.stop())

const filesBelow = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile())

/** The bytes as they are, and as a careless program would write them. */
const formsOf = (bytes: Buffer): Buffer[] => [
  bytes,
  ...(['base64', 'base64url', 'hex'] as const).map((form) =>
    Buffer.from(bytes.toString(form).replace(/=+$/, '')),
  ),
]

it('holds only ciphertext and hashes', async () => {
  const canary = Buffer.from('canary-7f3a-value-of-the-secret-that-must-not-be-found')
  const { token } = await gateway.admin.createToken({ uses: 1 })
  const node = await SimulatedNode.make(gateway.connection, 'reader')
  await node.enrol(token)
  const readers = { tags: [], nodes: ['reader'] }
  await gateway.admin.putSecret('canary', canary, { readers })
  await gateway.admin.putSecret('canary.large', Buffer.concat(Array(100).fill(canary)), { readers })
  // Once into the cache, and once out of it.
  await node.fetchSecret('canary.large')
  await node.fetchSecret('canary.large')
  await node.fetchSecret('canary')
  await node.fetchSecret('canary')

  const directory = join(gateway.directory, 'gateway')
  const keyring = JSON.parse(readFileSync(join(directory, 'keyring.json'), 'utf8')) as {
    keys: Record<string, string>
  }
  const adminToken = readFileSync(join(directory, 'admin.token'), 'utf8').trim()
  const needles = {
    value: formsOf(canary),
    'master key': formsOf(Buffer.from(keyring.keys['1'] ?? '', 'base64')),
    'admin token': formsOf(Buffer.from(adminToken)),
    'join token': [
      Buffer.from(token),
      ...token
        .split('.')
        .slice(1)
        .map((part) => Buffer.from(part)),
    ],
  }
  const own = ['keyring.json', 'admin.token'].map((name) => join(directory, name))
  const stored = filesBelow(directory).filter((path) => !own.includes(path))
  expect(stored.some((path) => path.endsWith('.sqlite'))).toBe(true)

  const everything = stored.map((path) => [path, readFileSync(path)] as const)
  // The search itself works: names are stored in clear.
  expect(everything.some(([, content]) => content.includes('reader'))).toBe(true)
  for (const [what, forms] of Object.entries(needles)) {
    for (const form of forms) {
      const found = everything.filter(([, content]) => content.includes(form)).map(([path]) => path)
      expect(found, what).toEqual([])
    }
  }
})
