/** Values of the sealed class, against the stock `age` and `age-keygen`. */
import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import {
  ageDecrypt,
  ageEncrypt,
  ageIdentityOf,
  ageRecipientOf,
  ageRecipientOfIdentity,
  ageRecipientStanzas,
  parseAgeIdentity,
  parseAgeRecipient,
} from '../../host/age.ts'
import { fromBech32, toBech32 } from '../../host/bech32.ts'
import { SealingKey, SecretName } from '../../protocol/ids.ts'
import { MAX_RECIPIENTS } from '../../protocol/limits.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const stock = spawnSync('age', ['--version']).status === 0
const VALUES: readonly (readonly [string, Uint8Array])[] = [
  ['nothing', new Uint8Array()],
  ['text', Buffer.from('pässword\n')],
  ['a chunk of age, whole', randomBytes(64 * 1024)],
  ['1 MiB', randomBytes(1024 * 1024)],
]

interface Pair {
  readonly key: SecretBytes
  readonly identity: string
  readonly recipient: string
}

async function generate(): Promise<Pair> {
  const key = generateX25519()
  const recipient = ageRecipientOf(SealingKey.parse(await x25519PublicKey(key)))
  return { key, identity: ageIdentityOf(key), recipient }
}

const held = (bytes: Uint8Array): SecretBytes => SecretBytes.take(Uint8Array.from(bytes))

async function opened(identity: string, file: Uint8Array): Promise<Uint8Array | undefined> {
  const result = await ageDecrypt(identity, file)
  return result.ok ? result.value.expose() : undefined
}

const same = (a: Uint8Array | undefined, b: Uint8Array): boolean =>
  a !== undefined && Buffer.compare(a, b) === 0

describe.skipIf(!stock)('the stock age', () => {
  test('derives the same recipient from a key', async () => {
    const { identity, recipient } = await generate()
    expect(execFileSync('age-keygen', ['-y'], { input: identity, encoding: 'utf8' }).trim()).toBe(recipient)
  })

  test('makes keys that are read here, and written as they were', async () => {
    const lines = execFileSync('age-keygen', { encoding: 'utf8', stdio: 'pipe' }).split('\n')
    const text = lines.find((line) => line.startsWith('AGE-')) ?? ''
    const key = parseAgeIdentity(text)
    if (key === undefined) throw new Error('a key of age-keygen was not read')
    expect(ageIdentityOf(key)).toBe(text)
    expect(lines.join('\n')).toContain(await ageRecipientOfIdentity(key))
  })

  test.each(VALUES)('opens what is encrypted here: %s', async (_name, value) => {
    const [first, second] = [await generate(), await generate()]
    const directory = temporaryDirectory()
    const file = join(directory, 'file.age')
    writeFileSync(file, await ageEncrypt([first.recipient, second.recipient], held(value)))
    for (const [index, { identity }] of [first, second].entries()) {
      const key = join(directory, `key${index}`)
      writeFileSync(key, `# a comment\n${identity}\n`, { mode: 0o600 })
      const plain = execFileSync('age', ['-d', '-i', key, file], { maxBuffer: 2 ** 22 })
      expect(same(plain, value)).toBe(true)
    }
  })

  test.each(VALUES)('encrypts what is opened here: %s', async (_name, value) => {
    const [first, second] = [await generate(), await generate()]
    const args = ['-r', first.recipient, '-r', second.recipient]
    const file = execFileSync('age', args, { input: value, maxBuffer: 2 ** 22 })
    for (const { identity } of [first, second]) expect(same(await opened(identity, file), value)).toBe(true)
    expect(ageRecipientStanzas(file)).toBe(2)
  })
})

test('only who it is encrypted to opens a file', async () => {
  const [reader, stranger] = [await generate(), await generate()]
  const file = await ageEncrypt([reader.recipient], held(Buffer.from('x')))
  expect(await ageDecrypt(stranger.identity, file)).toEqual({ ok: false, error: 'corrupt' })
  expect(same(await opened(reader.identity, file), Buffer.from('x'))).toBe(true)
})

test('a file that is cut short anywhere, or longer, does not open', async () => {
  const { identity, recipient } = await generate()
  const file = await ageEncrypt([recipient], held(Buffer.from('value')))
  for (let length = 0; length < file.length; length++)
    expect(await opened(identity, file.subarray(0, length))).toBeUndefined()
  expect(await opened(identity, Buffer.concat([file, Buffer.of(0)]))).toBeUndefined()
})

test('a large file that ends between two chunks does not open', async () => {
  const { identity, recipient } = await generate()
  const file = await ageEncrypt([recipient], held(randomBytes(200_000)))
  const header = file.length - (200_000 + 4 * 16)
  expect(await opened(identity, file.subarray(0, header + 64 * 1024 + 16))).toBeUndefined()
})

test('a flipped bit is found wherever it is', async () => {
  const { identity, recipient } = await generate()
  const file = await ageEncrypt([recipient], held(Buffer.from('value')))
  await fc.assert(
    fc.asyncProperty(fc.nat(file.length - 1), fc.nat(7), async (index, bit) => {
      const changed = Uint8Array.from(file)
      changed[index] = (changed[index] ?? 0) ^ (1 << bit)
      expect(await opened(identity, changed)).toBeUndefined()
    }),
    { numRuns: 300 },
  )
})

test('the header tells to how many it is encrypted, and a name twice counts once', async () => {
  const pairs = await Promise.all(Array.from({ length: 5 }, generate))
  const recipients = pairs.map(({ recipient }) => recipient)
  const file = await ageEncrypt([...recipients, ...recipients], held(Buffer.from('x')))
  expect(ageRecipientStanzas(file)).toBe(5)
  for (const bytes of [new Uint8Array(), Buffer.from('age-encryption.org/v1\n'), Buffer.from('x\ny\n')])
    expect(ageRecipientStanzas(bytes)).toBeUndefined()
})

describe('the name of its secret in a file', () => {
  const name = SecretName.parse('app/db.password')
  const other = SecretName.parse('app/db')

  test('is asked for: a file of another secret, or of none, is corrupt', async () => {
    const { identity, recipient } = await generate()
    const value = Buffer.from('value')
    const named = await ageEncrypt([recipient], held(value), name)
    const result = await ageDecrypt(identity, named, name)
    expect(result.ok && same(result.value.expose(), value)).toBe(true)
    expect(ageRecipientStanzas(named)).toBe(1)
    expect(await ageDecrypt(identity, named, other)).toEqual({ ok: false, error: 'corrupt' })
    const unnamed = await ageEncrypt([recipient], held(value))
    expect(await ageDecrypt(identity, unnamed, name)).toEqual({ ok: false, error: 'corrupt' })
    expect(same(await opened(identity, named), value)).toBe(true)
  })

  test('cannot be changed, taken out or added by whoever keeps the file', async () => {
    const { identity, recipient } = await generate()
    const file = Buffer.from(await ageEncrypt([recipient], held(Buffer.from('x')), name)).toString('latin1')
    const stanza = `-> claw-secret ${name}\n\n`
    expect(file).toContain(stanza)
    for (const forged of [`-> claw-secret ${other}\n\n`, '', stanza + stanza.replace(name, other)])
      expect(await opened(identity, Buffer.from(file.replace(stanza, forged), 'latin1'))).toBeUndefined()
  })

  test.skipIf(!stock)('is passed over by the stock age', async () => {
    const { identity, recipient } = await generate()
    const directory = temporaryDirectory()
    const [file, key] = [join(directory, 'file.age'), join(directory, 'key')]
    writeFileSync(file, await ageEncrypt([recipient], held(Buffer.from('value')), name))
    writeFileSync(key, identity, { mode: 0o600 })
    expect(execFileSync('age', ['-d', '-i', key, file], { encoding: 'utf8' })).toBe('value')
  })
})

test('as many recipients as a sealed secret may have', async () => {
  const last = await generate()
  const others = Array.from({ length: MAX_RECIPIENTS - 1 }, () => toBech32('age', clampedPoint()))
  const file = await ageEncrypt([...others, last.recipient], held(Buffer.from('x')))
  expect(ageRecipientStanzas(file)).toBe(MAX_RECIPIENTS)
  expect(same(await opened(last.identity, file), Buffer.from('x'))).toBe(true)
})

test('nothing is encrypted to nobody, to another kind of key or to a key that hides nothing', async () => {
  const value = held(Buffer.from('x'))
  await expect(ageEncrypt([], value)).rejects.toThrow()
  const hybrid = toBech32('age1pq', randomBytes(1216))
  for (const text of ['', 'age1', 'ssh-ed25519 AAAA', hybrid]) {
    await expect(ageEncrypt([text], value)).rejects.toThrow()
    expect(await parseAgeRecipient(text)).toBeUndefined()
  }
  const lowOrder = toBech32('age', new Uint8Array(32))
  expect(await parseAgeRecipient(lowOrder)).toBeUndefined()
  await expect(ageEncrypt([lowOrder], value)).rejects.toThrow()
})

test('a key that is mistyped is refused, and its text is nowhere', async () => {
  const { identity, recipient } = await generate()
  for (const text of ['', identity.slice(0, -1), identity.toLowerCase(), recipient, `${identity} `])
    expect(parseAgeIdentity(text)).toBeUndefined()
  const mistyped = recipient.replace(/.$/, (last) => (last === 'q' ? 'p' : 'q'))
  expect(await parseAgeRecipient(mistyped)).toBeUndefined()
  expect(await parseAgeRecipient(recipient)).toBeDefined()
  await expect(ageDecrypt('AGE-SECRET-KEY-1XYZ', new Uint8Array())).rejects.not.toThrow('XYZ')
})

describe('bech32', () => {
  // BIP 173, test vectors.
  test.each([
    ['A12UEL5L', 'a', ''],
    [
      'an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs',
      'an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio',
      '',
    ],
    ['abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw', 'abcdef', '00443214c74254b635cf84653a56d7c675be77df'],
    [
      'split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w',
      'split',
      'c5f38b70305f519bf66d85fb6cf03058f3dde463ecd7918f2dc743918f2d',
    ],
    ['?1ezyfcl', '?', ''],
  ])('%s', (text, prefix, hex) => {
    expect(Buffer.from(fromBech32(prefix, text) ?? [255]).toString('hex')).toBe(hex)
    expect(toBech32(prefix, Buffer.from(hex, 'hex'))).toBe(text.toLowerCase())
  })

  test.each([
    'pzry9x0s0muk',
    '1pzry9x0s0muk',
    'x1b4n0q5v',
    'li1dgmt3',
    'A1G7SGD8',
    '10a06t8',
    '1qzzfhee',
    'a12UEL5L',
  ])('%s is refused', (text) =>
    expect(fromBech32(text.slice(0, text.lastIndexOf('1')).toLowerCase(), text)).toBeUndefined(),
  )

  test('any bytes come back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        expect(fromBech32('age', toBech32('age', bytes))).toEqual(Uint8Array.from(bytes))
      }),
    )
  })
})

/** Some point that is not of low order: whose it is does not matter. */
const clampedPoint = (): Uint8Array => Uint8Array.from([9, ...randomBytes(30), 0])
