/** What the server says to one packet. It answers for the fleet's zones only: it asks nobody, and refuses everything else. */
import type { MeshZone } from './mesh-zone.ts'
import {
  CLASS_IN,
  type Query,
  RCODE,
  type Response,
  readQuery,
  refusal,
  TYPE,
  udpLimit,
  writeResponse,
  writeUnreadable,
} from './wire.ts'

/** @returns undefined if there is to be no answer. */
export function answer(packet: Uint8Array, zone: MeshZone, transport: 'udp' | 'tcp'): Uint8Array | undefined {
  const received = readQuery(packet)
  if (received === undefined) return undefined
  if (received.kind === 'unreadable') return writeUnreadable(received.header, received.rcode)
  const { query } = received
  const limit = transport === 'udp' ? udpLimit(query) : Number.POSITIVE_INFINITY
  return writeResponse(query, respond(query, zone), limit)
}

function respond({ question, edns }: Query, zone: MeshZone): Response {
  if (edns !== undefined && edns.version !== 0) return refusal(RCODE.BADVERS)
  const { labels, type } = question
  if (question.class !== CLASS_IN || isTransfer(type)) return refusal(RCODE.REFUSED)
  const found = zone.lookup(labels, type)
  if (found.kind === 'outside') return refusal(RCODE.REFUSED)
  const { exists, records, soa, below } = found
  return {
    rcode: exists ? RCODE.NOERROR : RCODE.NXDOMAIN,
    authoritative: true,
    answers: records.map((record) => ({ ...record, below: 0 })),
    // With no records it says for how long that may be remembered (RFC 2308).
    authorities: records.length === 0 ? [{ ...soa, below }] : [],
  }
}

const isTransfer = (type: number): boolean => type === TYPE.AXFR || type === TYPE.IXFR
