/**
 * DNS messages (RFC 1035, RFC 6891) as far as an authoritative server for small zones needs them: queries with one question are read,
 * responses written. It reads less than the format allows, on purpose: whatever a stub resolver has no need to send is a format error.
 */

export const TYPE = {
  A: 1,
  NS: 2,
  SOA: 6,
  PTR: 12,
  AAAA: 28,
  OPT: 41,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const
export const CLASS_IN = 1
/** RFC 1035, section 4.1.1; BADVERS is of RFC 6891. */
export const RCODE = { NOERROR: 0, FORMERR: 1, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5, BADVERS: 16 } as const

const HEADER_BYTES = 12
const MAX_NAME_BYTES = 255
const MAX_LABEL_BYTES = 63
const OPT_HEADER_BYTES = 11
const FLAG = { QR: 0x8000, AA: 0x0400, TC: 0x0200, RD: 0x0100 } as const
const DNSSEC_OK = 0x8000
/** Without EDNS nobody has to take more (RFC 1035, section 4.2.1). */
const CLASSIC_UDP_BYTES = 512
/** What passes every path without being cut into fragments (RFC 9715), and a mesh with its 1420 bytes too. */
const MAX_UDP_BYTES = 1232

/** What every response says of the request, however little of it was understood. */
interface Header {
  readonly id: number
  readonly opcode: number
  readonly recursionDesired: boolean
}

interface Question {
  /** As it was sent: whoever asks compares it bit by bit, the case of its letters included. */
  readonly bytes: Uint8Array
  /** In lower case. A dot within a label has a backslash before it, so that joined labels are not another name. */
  readonly labels: readonly string[]
  readonly type: number
  readonly class: number
}

interface Edns {
  readonly payloadBytes: number
  readonly version: number
  readonly dnssecOk: boolean
}

export interface Query extends Header {
  readonly question: Question
  readonly edns: Edns | undefined
}

export type Received =
  | { readonly kind: 'query'; readonly query: Query }
  | { readonly kind: 'unreadable'; readonly header: Header; readonly rcode: number }

/** Undefined for what must not be answered: too short to have an id, or itself an answer, which could go to and fro for ever. */
export function readQuery(packet: Uint8Array): Received | undefined {
  if (packet.length < HEADER_BYTES) return undefined
  const view = viewOf(packet)
  const flags = view.getUint16(2)
  if ((flags & FLAG.QR) !== 0) return undefined
  const header = {
    id: view.getUint16(0),
    opcode: (flags >> 11) & 15,
    recursionDesired: (flags & FLAG.RD) !== 0,
  }
  if (header.opcode !== 0) return { kind: 'unreadable', header, rcode: RCODE.NOTIMP }
  const malformed = { kind: 'unreadable', header, rcode: RCODE.FORMERR } as const
  const [questions, answers, authorities, additionals] = [4, 6, 8, 10].map((at) => view.getUint16(at))
  if ((flags & FLAG.TC) !== 0 || questions !== 1 || answers !== 0 || authorities !== 0) return malformed
  const question = readQuestion(packet)
  if (question === undefined) return malformed
  const rest = packet.subarray(HEADER_BYTES + question.bytes.length)
  if (additionals === 0 && rest.length === 0)
    return { kind: 'query', query: { ...header, question, edns: undefined } }
  const edns = additionals === 1 ? readEdns(rest) : undefined
  return edns === undefined ? malformed : { kind: 'query', query: { ...header, question, edns } }
}

/** A pointer in the only name there is could point at nothing but the header or itself: it is refused, and with it every loop. */
function readQuestion(packet: Uint8Array): Question | undefined {
  const labels: string[] = []
  let at = HEADER_BYTES
  for (;;) {
    const length = packet[at]
    if (length === undefined || length > MAX_LABEL_BYTES) return undefined
    at += 1
    if (length === 0) break
    const label = packet.subarray(at, at + length)
    if (label.length < length) return undefined
    labels.push(Buffer.from(label).toString('latin1').toLowerCase().replaceAll('.', '\\.'))
    at += length
  }
  if (at - HEADER_BYTES > MAX_NAME_BYTES || packet.length < at + 4) return undefined
  const view = viewOf(packet)
  const bytes = packet.subarray(HEADER_BYTES, at + 4)
  return { bytes, labels, type: view.getUint16(at), class: view.getUint16(at + 2) }
}

/** Its options are passed over, but they have to fill the packet: nothing may follow them. */
function readEdns(bytes: Uint8Array): Edns | undefined {
  if (bytes.length < OPT_HEADER_BYTES) return undefined
  const view = viewOf(bytes)
  if (view.getUint8(0) !== 0 || view.getUint16(1) !== TYPE.OPT) return undefined
  if (view.getUint16(9) !== bytes.length - OPT_HEADER_BYTES) return undefined
  return {
    payloadBytes: view.getUint16(3),
    version: view.getUint8(6),
    dnssecOk: (view.getUint16(7) & DNSSEC_OK) !== 0,
  }
}

/** What one datagram may hold. */
export const udpLimit = ({ edns }: Query): number =>
  Math.min(Math.max(edns?.payloadBytes ?? 0, CLASSIC_UDP_BYTES), MAX_UDP_BYTES)

export interface ResourceRecord {
  readonly type: number
  readonly ttl: number
  readonly data: Uint8Array
  /** How many labels of the question's name come before the record's own. */
  readonly below: number
}

export interface Response {
  readonly rcode: number
  readonly authoritative: boolean
  readonly answers: readonly ResourceRecord[]
  readonly authorities: readonly ResourceRecord[]
}

/** One that says no more than why. */
export const refusal = (rcode: number): Response => ({
  rcode,
  authoritative: false,
  answers: [],
  authorities: [],
})

/** Where it does not fit it has no records at all, and says so: the question is then asked anew by TCP. */
export function writeResponse(query: Query, response: Response, maxBytes: number): Uint8Array {
  const whole = compose(query, response, 0)
  if (whole.length <= maxBytes) return whole
  return compose(query, { ...response, answers: [], authorities: [] }, FLAG.TC)
}

/** To a request whose question could not be read: it is not repeated. */
export const writeUnreadable = (header: Header, rcode: number): Uint8Array =>
  headerOf(header, rcode, 0, [0, 0, 0, 0])

function compose(query: Query, response: Response, flags: number): Uint8Array {
  const { question, edns } = query
  const { rcode, authoritative, answers, authorities } = response
  const opt = edns === undefined ? [] : [optRecord(rcode, edns)]
  const counts = [1, answers.length, authorities.length, opt.length]
  const header = headerOf(query, rcode, flags | (authoritative ? FLAG.AA : 0), counts)
  const records = [...answers, ...authorities].map((record) => encodeRecord(record, question))
  return Buffer.concat([header, question.bytes, ...records, ...opt])
}

function headerOf(
  { id, opcode, recursionDesired }: Header,
  rcode: number,
  flags: number,
  counts: readonly number[],
): Uint8Array {
  const bytes = Buffer.alloc(HEADER_BYTES)
  bytes.writeUInt16BE(id, 0)
  const asked = (opcode << 11) | (recursionDesired ? FLAG.RD : 0)
  bytes.writeUInt16BE(FLAG.QR | asked | flags | (rcode & 15), 2)
  for (const [index, count] of counts.entries()) bytes.writeUInt16BE(count, 4 + 2 * index)
  return bytes
}

/** Every name that owns a record is the question's, or one above it: a pointer into the question. */
function encodeRecord({ type, ttl, data, below }: ResourceRecord, { bytes }: Question): Uint8Array {
  let at = 0
  for (let label = 0; label < below; label++) at += 1 + (bytes[at] ?? 0)
  const head = Buffer.alloc(12)
  head.writeUInt16BE(0xc000 | (HEADER_BYTES + at), 0)
  head.writeUInt16BE(type, 2)
  head.writeUInt16BE(CLASS_IN, 4)
  head.writeUInt32BE(ttl, 6)
  head.writeUInt16BE(data.length, 10)
  return Buffer.concat([head, data])
}

function optRecord(rcode: number, { dnssecOk }: Edns): Uint8Array {
  const bytes = Buffer.alloc(OPT_HEADER_BYTES)
  bytes.writeUInt16BE(TYPE.OPT, 1)
  bytes.writeUInt16BE(MAX_UDP_BYTES, 3)
  bytes.writeUInt8(rcode >> 4, 5)
  // RFC 3225 wants it back as it came.
  bytes.writeUInt16BE(dnssecOk ? DNSSEC_OK : 0, 7)
  return bytes
}

/** A name as record data. @param name of labels that are known to fit. */
export const encodeName = (name: string): Uint8Array =>
  Buffer.concat([
    ...name.split('.').map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1')),
    Buffer.alloc(1),
  ])

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
