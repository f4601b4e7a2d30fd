/** Signed notes and checkpoints, against Go's published key and note. */
import { exportJWK, generateKeyPair } from 'jose'
import { describe, expect, it } from 'vitest'
import { concat, fromBase64, fromBase64Url, utf8 } from '../../crypto/bytes.ts'
import { formatCheckpoint, parseCheckpoint } from '../../crypto/checkpoint.ts'
import {
  formatVerifierKey,
  type NoteKey,
  openNote,
  parseVerifierKey,
  readNoteText,
  signNote,
} from '../../crypto/signed-note.ts'
import vector from '../vectors/signed_note.json' with { type: 'json' }

const NOTE = `${vector.text}\n— PeterNeumann ${vector.signature}\n`
const peter = parseVerifierKey(vector.verifierKey) as NoteKey

const PKCS8_HEADER = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20)

async function signWith(seed: Uint8Array): Promise<(message: Uint8Array) => Promise<Uint8Array>> {
  const pkcs8 = new Uint8Array(concat(PKCS8_HEADER, seed))
  const key = await crypto.subtle.importKey('pkcs8', pkcs8, { name: 'Ed25519' }, false, ['sign'])
  return async (message) => new Uint8Array(await crypto.subtle.sign('Ed25519', key, new Uint8Array(message)))
}

async function someone(name: string) {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA', { extractable: true })
  const key = fromBase64Url((await exportJWK(publicKey)).x ?? '') as Uint8Array
  const sign = async (message: Uint8Array) =>
    new Uint8Array(await crypto.subtle.sign('Ed25519', privateKey, new Uint8Array(message)))
  return { key: { name, key }, sign }
}

describe('the published note', () => {
  it('opens with its key', async () => {
    expect(await openNote(NOTE, [peter])).toEqual({ ok: true, value: { text: vector.text, by: peter } })
  })

  it('is what signing makes of its text', async () => {
    const seed = fromBase64(vector.signerKey.split('+').slice(4).join('+'))?.subarray(1) as Uint8Array
    expect(await signNote(vector.text, peter, await signWith(seed))).toBe(NOTE)
  })

  it('its key has the form that other tools take', () => {
    expect(formatVerifierKey(peter)).toBe(vector.verifierKey)
  })

  it.each([
    ...vector.badKeys,
    vector.verifierKey.slice(1),
    vector.verifierKey.replace('c74f20a3', 'c74f20a4'),
    vector.verifierKey.replace('PeterNeumann', 'Peter Neumann'),
    vector.verifierKey.replace('PeterNeumann', ''),
    `${vector.verifierKey}=`,
    vector.verifierKey.slice(0, -1),
    '',
  ])('%s is no key', (text) => {
    expect(parseVerifierKey(text)).toBeUndefined()
  })
})

describe('a note', () => {
  const TEXT = 'one\n\ntwo\n'

  it('is opened by any known key, with others passed over', async () => {
    const [first, second, stranger] = await Promise.all([someone('a'), someone('b'), someone('a')])
    const note = await signNote(TEXT, first.key, first.sign)
    const both = note + (await signNote(TEXT, second.key, second.sign)).slice(TEXT.length + 1)
    expect(readNoteText(both)).toBe(TEXT)
    expect(await openNote(both, [second.key])).toEqual({ ok: true, value: { text: TEXT, by: second.key } })
    expect(await openNote(both, [first.key, second.key])).toMatchObject({ ok: true })
    expect(await openNote(both, [stranger.key])).toEqual({ ok: false, error: 'unsigned' })
    expect(await openNote(both, [])).toEqual({ ok: false, error: 'unsigned' })
  })

  it('is forged if one known signature does not hold, whatever others say', async () => {
    const [first, second] = await Promise.all([someone('a'), someone('b')])
    const note = await signNote(TEXT, first.key, first.sign)
    const other = await signNote('another\n', second.key, second.sign)
    const mixed = note + other.slice('another\n'.length + 1)
    expect(await openNote(mixed, [first.key, second.key])).toEqual({ ok: false, error: 'forged' })
    expect(await openNote(note.replace('two', 'too'), [first.key])).toEqual({ ok: false, error: 'forged' })
  })

  it.each([
    ['no blank line', NOTE.replace('\n\n', '\n')],
    ['no signature', `${vector.text}\n`],
    ['no last newline', NOTE.slice(0, -1)],
    ['a carriage return', NOTE.replaceAll('\n', '\r\n')],
    ['a control character', NOTE.replace('think', 'thi\u0007nk')],
    ['a hyphen for the dash', NOTE.replace('—', '-')],
    ['a signature that is not base64', NOTE.replace('x08g', 'x0 g')],
    ['base64 with a stray bit', NOTE.replace('nAM=', 'nAN=')],
    ['a line too much', `${NOTE}more\n`],
    ['far too many signatures', NOTE + `— PeterNeumann ${vector.signature}\n`.repeat(40)],
  ])('with %s is malformed', async (_case, note) => {
    expect(note).not.toBe(NOTE)
    expect(await openNote(note, [peter])).toEqual({ ok: false, error: 'malformed' })
  })

  it('is not signed if it could not be read', async () => {
    const { key, sign } = await someone('a')
    await expect(signNote('no newline', key, sign)).rejects.toThrow(RangeError)
    await expect(signNote('tab\t\n', key, sign)).rejects.toThrow(RangeError)
    await expect(signNote('x\n', { ...key, name: 'a b' }, sign)).rejects.toThrow(RangeError)
    await expect(signNote('x\n', { ...key, name: 'a+b' }, sign)).rejects.toThrow(RangeError)
  })
})

describe('a checkpoint', () => {
  const TEXT = 'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n'

  it('is what the specification shows', () => {
    const parsed = parseCheckpoint(TEXT)
    expect(parsed).toMatchObject({ origin: 'example.com/behind-the-sofa', size: 20_852_163 })
    expect(parsed && formatCheckpoint(parsed)).toBe(TEXT)
  })

  it.each([
    '',
    'origin\n',
    TEXT.replace('2085', '02085'),
    TEXT.replace('20852163', '-1'),
    TEXT.replace('20852163', '1e3'),
    TEXT.replace('20852163', '9'.repeat(16)),
    TEXT.replace('example.com/behind-the-sofa', ''),
    TEXT.replace('CsUY', 'CsU'),
    TEXT.replace('CsUYapGG', ''),
    `${TEXT}an extension\n`,
    TEXT.slice(0, -1),
  ])('%j is none', (text) => {
    expect(parseCheckpoint(text)).toBeUndefined()
  })

  it('has its length in UTF-8 signed, not its characters', async () => {
    const { key, sign } = await someone('a')
    const text = 'münchen.example/protokoll\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n'
    const opened = await openNote(await signNote(text, key, sign), [key])
    expect(opened).toMatchObject({ ok: true, value: { text } })
    expect(utf8(text).length).toBe(text.length + 1)
  })
})
