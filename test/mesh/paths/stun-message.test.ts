import { describe, expect, test } from 'vitest'
import { bindingRequest, parseBindingAnswer } from '../../../agent/mesh/paths/stun-message.ts'

const bytes = (hex: string) => new Uint8Array(Buffer.from(hex.replaceAll(/\s/g, ''), 'hex'))

const IPV4 = bytes(`
  0101003c 2112a442 b7e7a701bc34d686fa87dfae
  8022000b 7465737420766563746f7220
  00200008 0001a147e112a643
  00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7
  80280004 c07d4c96`)
const IPV6 = bytes(`
  01010048 2112a442 b7e7a701bc34d686fa87dfae
  8022000b 7465737420766563746f7220
  00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9
  00080014 a382954e4be67bf11784c97c8292c275bfe3ed41
  80280004 c8fb0b4c`)
const TXID = Buffer.from('b7e7a701bc34d686fa87dfae', 'hex').toString('base64url')

const changed = (packet: Uint8Array, at: number, value: number): Uint8Array => {
  const copy = packet.slice()
  copy[at] = value
  return copy
}

describe('answers of a STUN server (RFC 5769)', () => {
  test('are read, IPv4 and IPv6', () => {
    expect(parseBindingAnswer(IPV4)).toEqual({ txid: TXID, mapped: '192.0.2.1:32853' })
    expect(parseBindingAnswer(IPV6)).toEqual({
      txid: TXID,
      mapped: '[2001:db8:1234:5678:11:2233:4455:6677]:32853',
    })
  })

  test('are refused with any one bit changed, or cut short anywhere', () => {
    for (let at = 0; at < IPV4.length; at++) {
      // As something else than a fingerprint, and something that need not be understood, it covers nothing.
      if (at === 72 || at === 73) continue
      expect(parseBindingAnswer(changed(IPV4, at, (IPV4[at] ?? 0) ^ 1)), `byte ${at}`).toBeUndefined()
      expect(parseBindingAnswer(IPV4.subarray(0, at)), `${at} bytes`).toBeUndefined()
    }
  })

  const message = (type: string, ...attributes: string[]) => {
    const body = attributes.join('')
    const length = (body.length / 2).toString(16).padStart(4, '0')
    return bytes(`${type}${length} 2112a442 b7e7a701bc34d686fa87dfae ${body}`)
  }

  test('of old servers have the address in clear', () => {
    expect(parseBindingAnswer(message('0101', '000100080001d431c0000201'))?.mapped).toBe('192.0.2.1:54321')
  })

  test.each([
    ['a request', message('0001', '000100080001d431c0000201')],
    ['an error', message('0111', '000900040000041400')],
    ['no address', message('0101')],
    [
      'an attribute that has to be understood',
      message('0101', '7fff000400000000', '000100080001d431c0000201'),
    ],
    ['an address of no family', message('0101', '000100080003d431c0000201')],
    ['an IPv6 address of four bytes', message('0101', '000100080002d431c0000201')],
    ['port zero', message('0101', '0001000800010000c0000201')],
    ['an attribute longer than the message', message('0101', '000100ff0001d431c0000201')],
  ])('are nothing with %s', (_, packet) => expect(parseBindingAnswer(packet)).toBeUndefined())
})

test('a request is a header, and each has its own transaction', () => {
  const [one, two] = [bindingRequest(), bindingRequest()]
  expect(Buffer.from(one.packet).toString('hex')).toMatch(/^000100002112a442[0-9a-f]{24}$/)
  expect(one.txid).not.toBe(two.txid)
})
