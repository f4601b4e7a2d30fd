/** Answers of the DNS server to single packets, read with another implementation than its own. */
import dns, { type DecodedPacket, type Packet } from 'dns-packet'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { answer } from '../../agent/dns/answer.ts'
import { fleetDomain } from '../../agent/dns/mesh-zone.ts'
import { ipv6Bytes, reverseIpv4, reverseIpv6, reverseZones } from '../../agent/dns/reverse.ts'
import { Ipv6 } from '../../protocol/ids.ts'
import { DOMAIN, named, zoneOf } from './dns-zone.ts'
import { FLEET } from './mesh-node.ts'

const nodes = [named('here', 1), named('gpu', 2), named('gpu-3', 3)] as const
const zone = zoneOf([...nodes])
const [here, gpu] = nodes

const CODES = { 0: 'NOERROR', 1: 'FORMERR', 3: 'NXDOMAIN', 4: 'NOTIMP', 5: 'REFUSED' } as const

interface Told extends DecodedPacket {
  readonly rcode: (typeof CODES)[keyof typeof CODES]
}

function query(name: string, type: string, change: Packet = {}): Buffer {
  const questions = [{ name, type, class: 'IN' }] as NonNullable<Packet['questions']>
  return dns.encode({ type: 'query', id: 0x1234, flags: dns.RECURSION_DESIRED, questions, ...change })
}

function told(packet: Uint8Array, transport: 'udp' | 'tcp' = 'udp'): Told {
  const response = answer(packet, zone, transport)
  if (response === undefined) return expect.fail('no answer')
  return dns.decode(Buffer.from(response)) as Told
}

const ask = (name: string, type: string, change?: Packet): Told => told(query(name, type, change))
const shown = ({ answers }: Told) => answers?.map((record) => ('data' in record ? record.data : undefined))
const edns = (udpPayloadSize: number, change = {}): Packet => ({
  additionals: [
    {
      type: 'OPT',
      name: '.',
      udpPayloadSize,
      flags: 0,
      flag_do: false,
      extendedRcode: 0,
      ednsVersion: 0,
      options: [],
      ...change,
    },
  ],
})

describe('names of the fleet', () => {
  test('have an IPv4 and an IPv6 address, this node’s own among them', () => {
    for (const { name, ipv4, ipv6 } of nodes) {
      expect(shown(ask(`${name}.${DOMAIN}`, 'A'))).toEqual([ipv4])
      expect(shown(ask(`${name}.${DOMAIN}`, 'AAAA'))).toEqual([ipv6])
    }
  })

  test('are found by address', () => {
    expect(shown(ask('2.0.100.10.in-addr.arpa', 'PTR'))).toEqual([`gpu.${DOMAIN}`])
    expect(shown(ask(reverseIpv6(gpu.ipv6), 'PTR'))).toEqual([`gpu.${DOMAIN}`])
    expect(reverseIpv6(Ipv6.parse('2001:db8::567:89ab'))).toBe(
      'b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa',
    )
  })

  test('are answered authoritatively, with the question as it was sent, and without an offer to ask others', () => {
    const response = ask('GpU.LAB.internal', 'A')
    expect(response).toMatchObject({
      id: 0x1234,
      type: 'response',
      rcode: 'NOERROR',
      flag_aa: true,
      flag_rd: true,
      flag_ra: false,
      flag_tc: false,
      questions: [{ name: 'GpU.LAB.internal', type: 'A', class: 'IN' }],
      answers: [{ name: 'GpU.LAB.internal', type: 'A', class: 'IN', ttl: 5, data: gpu.ipv4 }],
      authorities: [],
      additionals: [],
    })
  })

  test('that nobody has do not exist, and for how long is said', () => {
    for (const name of [`no.${DOMAIN}`, `gpu.gpu.${DOMAIN}`, '9.0.100.10.in-addr.arpa']) {
      const response = ask(name, 'A')
      expect(response).toMatchObject({ rcode: 'NXDOMAIN', flag_aa: true, answers: [] })
      expect(response.authorities).toMatchObject([
        {
          type: 'SOA',
          data: { mname: `here.${DOMAIN}`, rname: `hostmaster.${DOMAIN}`, minimum: 5, serial: 7 },
        },
      ])
    }
    expect(ask(`no.${DOMAIN}`, 'A').authorities?.[0]?.name).toBe(DOMAIN)
    expect(ask('9.0.100.10.in-addr.arpa', 'PTR').authorities?.[0]?.name).toBe('100.10.in-addr.arpa')
  })

  test('that have nothing of a kind exist all the same, and so do names above those of addresses', () => {
    for (const name of [`gpu.${DOMAIN}`, '0.100.10.in-addr.arpa', reverseIpv6(gpu.ipv6).slice(2)])
      expect(ask(name, 'MX')).toMatchObject({ rcode: 'NOERROR', answers: [], authorities: [{ type: 'SOA' }] })
  })

  test('have a top with its SOA and its server', () => {
    expect(ask(DOMAIN, 'SOA').answers).toMatchObject([{ type: 'SOA', name: DOMAIN }])
    expect(shown(ask(DOMAIN, 'NS'))).toEqual([`here.${DOMAIN}`])
    expect(ask('100.10.in-addr.arpa', 'SOA').answers).toHaveLength(1)
  })

  test('are answered with one set of records where any will do', () => {
    expect(shown(ask(`gpu.${DOMAIN}`, 'ANY'))).toEqual([gpu.ipv4])
  })

  test('go to the first of two that claim one, and an address back to no name but its own', () => {
    const twice = zoneOf([here, named('here', 4), named('gpu', 5), named('gpu', 6)])
    const of = (name: string, type: number) => twice.lookup(name.split('.'), type)
    expect(of(`here.${DOMAIN}`, 1)).toMatchObject({ records: [{ data: Uint8Array.of(10, 100, 0, 1) }] })
    expect(of(`gpu.${DOMAIN}`, 1)).toMatchObject({ records: [{ data: Uint8Array.of(10, 100, 0, 5) }] })
    expect(of(reverseIpv4(named('x', 4).ipv4), 12)).toMatchObject({ exists: false })
  })
})

describe('everything else is refused', () => {
  test.each([
    'example.com',
    'internal',
    'other.internal',
    'xlab.internal',
    'lab.internal.com',
    '1.0.101.10.in-addr.arpa',
    '10.in-addr.arpa',
    'arpa',
    '.',
  ])('the name %s', (name) => {
    expect(ask(name, 'A')).toMatchObject({ rcode: 'REFUSED', flag_aa: false, answers: [], authorities: [] })
  })

  test.each(['AXFR', 'IXFR'])('a transfer: %s', (type) => {
    expect(ask(DOMAIN, type).rcode).toBe('REFUSED')
  })

  test('another class', () => {
    const questions = [{ name: `gpu.${DOMAIN}`, type: 'A', class: 'CH' }] as const
    expect(told(query('', 'A', { questions: [...questions] })).rcode).toBe('REFUSED')
  })
})

describe('a packet', () => {
  test.each([
    ['with trailing bytes', Buffer.concat([query(`gpu.${DOMAIN}`, 'A'), Buffer.of(0)])],
    [
      'with two questions',
      query('', 'A', {
        questions: [
          { name: 'a', type: 'A' },
          { name: 'b', type: 'A' },
        ],
      }),
    ],
    ['without a question', query('', 'A', { questions: [] })],
    ['with an answer', query('a', 'A', { answers: [{ type: 'A', name: 'a', data: '10.0.0.1' }] })],
    [
      'with a record that is not of EDNS',
      query('a', 'A', { additionals: [{ type: 'A', name: 'a', data: '1.2.3.4' }] }),
    ],
    [
      'with EDNS twice',
      query('a', 'A', { additionals: [...(edns(512).additionals ?? []), ...(edns(512).additionals ?? [])] }),
    ],
    ['whose name points at itself', patch(query('ab', 'A'), 12, [0xc0, 0x0c])],
    ['whose name points at the header', patch(query('ab', 'A'), 12, [0xc0, 0x00])],
    ['whose label is of a kind that does not exist', patch(query('ab', 'A'), 12, [0x80])],
    ['whose label ends after the packet', patch(query('ab', 'A'), 12, [63])],
    ['whose label is longer than a label', labelled(64)],
    ['whose pointer would do for a label', labelled(0xc0)],
    ['cut in its question', query(`gpu.${DOMAIN}`, 'A').subarray(0, 20)],
    ['cut in its type', query(`gpu.${DOMAIN}`, 'A').subarray(0, -1)],
    ['whose name is too long', query(Array(5).fill('x'.repeat(60)).join('.'), 'A')],
    ['that says it was cut', query('a', 'A', { flags: dns.TRUNCATED_RESPONSE })],
  ])('%s is a format error', (_, packet) => {
    expect(told(packet)).toMatchObject({ id: 0x1234, rcode: 'FORMERR', questions: [], answers: [] })
  })

  test('of another operation is not for this server', () => {
    expect(told(query('a', 'A', { flags: 5 << 11 }))).toMatchObject({ rcode: 'NOTIMP', opcode: 'UPDATE' })
  })

  test('that is an answer, or too short to be anything, gets none', () => {
    expect(answer(query('a', 'A', { type: 'response' }), zone, 'udp')).toBeUndefined()
    for (let length = 0; length < 12; length++)
      expect(answer(query('a', 'A').subarray(0, length), zone, 'udp')).toBeUndefined()
  })

  test('with a dot within a label does not ask for the name that this looks like', () => {
    const packet = query('gpu_lab.internal', 'A')
    packet[12 + 1 + 3] = '.'.charCodeAt(0)
    expect(told(packet).rcode).toBe('REFUSED')
    const reverse = query('0_2.100.10.in-addr.arpa', 'PTR')
    reverse[12 + 1 + 1] = '.'.charCodeAt(0)
    expect(told(reverse)).toMatchObject({ rcode: 'NXDOMAIN', answers: [] })
  })
})

describe('EDNS', () => {
  test('is answered in kind', () => {
    const response = ask(`gpu.${DOMAIN}`, 'A', edns(4096, { flags: dns.DNSSEC_OK, flag_do: true }))
    expect(response.additionals).toMatchObject([
      { type: 'OPT', udpPayloadSize: 1232, ednsVersion: 0, flag_do: true },
    ])
    expect(shown(response)).toEqual([gpu.ipv4])
  })

  test('of a later version is said to be one', () => {
    const response = ask(`gpu.${DOMAIN}`, 'A', edns(4096, { ednsVersion: 1 }))
    expect(response.additionals).toMatchObject([{ extendedRcode: 1 }])
    expect(response).toMatchObject({ rcode: 'NOERROR', answers: [] })
  })

  test('options are passed over, and must end with the packet', () => {
    const cookie = edns(1232, { options: [{ code: 10, data: Buffer.alloc(8) }] })
    const packet = query(`gpu.${DOMAIN}`, 'A', cookie)
    expect(shown(told(packet))).toEqual([gpu.ipv4])
    expect(told(packet.subarray(0, -1)).rcode).toBe('FORMERR')
  })
})

describe('an answer that is longer than the asker takes', () => {
  const label = 'f'.repeat(63)
  const long = zoneOf([named('n'.repeat(63), 1)], { domain: `${label}.internal` })
  const name = ['x'.repeat(57), 'y'.repeat(63), 'z'.repeat(50), label, 'internal'].join('.')
  const of = (packet: Uint8Array, transport: 'udp' | 'tcp') => {
    const response = Buffer.from(answer(packet, long, transport) ?? [])
    return { bytes: response.length, ...(dns.decode(response) as Told) }
  }

  test('is cut, says so, and is whole by TCP and for those who take more', () => {
    const cut = of(query(name, 'A'), 'udp')
    expect(cut).toMatchObject({ rcode: 'NXDOMAIN', flag_tc: true, authorities: [] })
    const whole = of(query(name, 'A'), 'tcp')
    expect(whole).toMatchObject({ flag_tc: false, authorities: [{ type: 'SOA', name: `${label}.internal` }] })
    expect(whole.bytes).toBeGreaterThan(512)
    expect(of(query(name, 'A', edns(whole.bytes - 1)), 'udp').flag_tc).toBe(true)
    expect(of(query(name, 'A', edns(1232)), 'udp').flag_tc).toBe(false)
  })
})

describe('whatever is sent', () => {
  /** What holds of every answer to every packet. */
  function check(packet: Uint8Array): void {
    for (const transport of ['udp', 'tcp'] as const) {
      const response = answer(packet, zone, transport)
      const deserves = packet.length >= 12 && ((packet[2] ?? 0) & 0x80) === 0
      expect(response !== undefined).toBe(deserves)
      if (response === undefined) continue
      const read = dns.decode(Buffer.from(response)) as Told
      expect(dns.decode.bytes).toBe(response.length)
      expect([...response.subarray(0, 2)]).toEqual([...packet.subarray(0, 2)])
      expect(read.type).toBe('response')
      expect(response.length).toBeLessThanOrEqual(transport === 'udp' ? 1232 : 4096)
      // No amplifier: beside the question, which the asker has paid for, there is one SOA at most.
      expect(response.length).toBeLessThanOrEqual(packet.length + 200)
      if (read.rcode === 'NOERROR' || read.rcode === 'NXDOMAIN') continue
      expect([read.answers, read.authorities]).toEqual([[], []])
    }
  }

  test('noise', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (packet) => check(packet)),
      { numRuns: 2_000 },
    )
  })

  test('noise after a proper header', () => {
    const header = query('a', 'A').subarray(0, 12)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (rest) => check(Buffer.concat([header, rest]))),
      { numRuns: 2_000 },
    )
  })

  test('questions with bytes changed, cut out and put in', () => {
    const original = fc.constantFrom(
      query(`gpu.${DOMAIN}`, 'A'),
      query('2.0.100.10.in-addr.arpa', 'PTR', edns(1232)),
      query(reverseIpv6(gpu.ipv6), 'PTR', edns(512, { options: [{ code: 10, data: Buffer.alloc(8) }] })),
    )
    const edit = fc.record({ at: fc.nat(120), remove: fc.nat(3), put: fc.uint8Array({ maxLength: 3 }) })
    fc.assert(
      fc.property(original, fc.array(edit, { maxLength: 4 }), (packet, edits) => {
        const bytes = [...packet]
        for (const { at, remove, put } of edits) bytes.splice(at % (bytes.length + 1), remove, ...put)
        check(Uint8Array.from(bytes))
      }),
      { numRuns: 5_000 },
    )
  })
})

describe('a zone', () => {
  /** Every name there is, and every name above it up to the top, by making them all. */
  function naive(tops: readonly string[], names: readonly string[]) {
    const existing = new Set(tops)
    for (const name of names) {
      const labels = name.split('.')
      for (let at = 0; !tops.includes(labels.slice(at).join('.')); at++)
        existing.add(labels.slice(at).join('.'))
    }
    return existing
  }

  test('knows the same names as a list of all of them', () => {
    const number = fc.integer({ min: 1, max: 250 })
    const asked = fc.oneof(
      fc.record({ of: number, cut: fc.nat(35), more: fc.constantFrom('', '0.', 'a.') }),
      fc.record({ of: number, cut: fc.constant(0), more: fc.constant('') }),
    )
    fc.assert(
      fc.property(
        fc.uniqueArray(number, { minLength: 1, maxLength: 8 }),
        fc.array(asked),
        (numbers, questions) => {
          const [first, ...others] = numbers.map((n) =>
            named(`n${n}`, n, `10.${100 + (n % 3)}.${n % 2}.${n}`),
          )
          if (first === undefined) return
          const all = [first, ...others]
          const ipv4Range = '10.100.0.0/14'
          const sample = zoneOf([first, ...others], { ipv4Range })
          const tops = [DOMAIN, ...reverseZones(ipv4Range, FLEET)]
          const existing = naive(
            tops,
            all.flatMap(({ name, ipv4, ipv6 }) => [
              `${name}.${DOMAIN}`,
              reverseIpv4(ipv4),
              reverseIpv6(ipv6),
            ]),
          )
          for (const { of, cut, more } of questions) {
            const node = all[of % all.length] ?? first
            for (const full of [`${node.name}.${DOMAIN}`, reverseIpv4(node.ipv4), reverseIpv6(node.ipv6)]) {
              const labels = `${more}${full.split('.').slice(cut).join('.')}`.split('.')
              const name = labels.join('.')
              const inside = tops.some((top) => name === top || name.endsWith(`.${top}`))
              const found = sample.lookup(labels, 1)
              expect(found.kind === 'inside').toBe(inside)
              if (found.kind === 'inside') expect(found.exists, name).toBe(existing.has(name))
            }
          }
        },
      ),
    )
  })

  test.each([
    ['10.0.0.0/8', ['10.in-addr.arpa']],
    ['10.100.0.0/16', ['100.10.in-addr.arpa']],
    ['172.16.0.0/15', ['16.172.in-addr.arpa', '17.172.in-addr.arpa']],
    ['10.1.2.0/24', ['2.1.10.in-addr.arpa']],
    ['10.1.2.252/30', [252, 253, 254, 255].map((last) => `${last}.2.1.10.in-addr.arpa`)],
  ])('of the range %s', (cidr, expected) => {
    expect(reverseZones(cidr, FLEET).slice(0, -1)).toEqual(expected)
    expect(reverseZones(cidr, FLEET).at(-1)).toMatch(/^([0-9a-f]\.){10}d\.f\.ip6\.arpa$/)
  })

  test('is never cut into more than 128', () => {
    for (let length = 8; length <= 30; length++)
      expect(reverseZones(`10.0.0.0/${length}`, FLEET).length).toBeLessThanOrEqual(129)
  })

  test('needs a fleet whose name is a label', () => {
    expect(fleetDomain('lab')).toBe('lab.internal')
    for (const name of ['', '.', 'a.b', 'a b', 'a\n127.0.0.1 b', '-a', 'A', 'x'.repeat(64)])
      expect(fleetDomain(name)).toBeUndefined()
  })

  test('has the bytes of IPv6 addresses in every form', () => {
    expect(ipv6Bytes(Ipv6.parse('::1')).at(-1)).toBe(1)
    expect(ipv6Bytes(Ipv6.parse('fd00::'))).toHaveLength(16)
    expect([...ipv6Bytes(Ipv6.parse('1:2:3:4:5:6:7:8'))]).toEqual([
      0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8,
    ])
  })
})

function patch(packet: Buffer, at: number, bytes: readonly number[]): Buffer {
  const changed = Buffer.from(packet)
  changed.set(bytes, at)
  return changed
}

/** A question whose one label begins with this byte, and is as long as it says. */
function labelled(length: number): Buffer {
  const header = query('a', 'A').subarray(0, 12)
  return Buffer.concat([header, Buffer.of(length), Buffer.alloc(length, 'x'), Buffer.of(0, 0, 1, 0, 1)])
}
